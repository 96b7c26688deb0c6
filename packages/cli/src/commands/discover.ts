import { ADRFAM_NAMES, EFLAGS_NAMES, SECTYPE_NAMES, SUBTYPE_NAMES, TREQ_NAMES, TRTYPE_NAMES } from '@nvbraid/wire';
import {
  type DiscoveredServices,
  type DiscoveryLogEntry,
  type DiscoveryResult,
  discoverAll,
  discover as discoverLog,
} from 'nvbraid';
import { advised } from '../advice.ts';
import { connectOptions, formatAddress } from '../association.ts';
import { command } from '../command.ts';
import { sentence } from '../explain.ts';
import { addressOptions, associationOptions, outputOptions } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

const { nqn, ...address } = addressOptions;

export const discover = command({
  name: 'discover',
  summary: 'Ask a discovery controller which subsystems there are',
  description: [
    'Connects to the discovery subsystem, reads its log and disconnects. Every port of nvbraid serve answers, not only 8009. With --referrals the services that it refers to are asked as well, each address once; one that does not answer is told of and skipped.',
  ],
  options: {
    ...address,
    nqn: { ...nqn, help: 'Discovery subsystem; else the well-known one' },
    ...associationOptions,
    referrals: { type: 'flag', help: 'Ask also the discovery controllers that are referred to' },
    ...outputOptions,
  },
  examples: [
    { line: 'nvbraid discover -a 192.168.0.7', help: 'the target on port 8009 of another machine' },
    { line: 'nvbraid discover -a 127.0.0.1 -s 4420 -o json', help: 'by an I/O port, for a script' },
  ],
  async run({ options, given, terminal }) {
    const { transport, traddr, trsvcid = 8009 } = options;
    if (traddr === undefined) throw new UsageError('-a is missing: the address of the target');
    using stop = new StopSignal();
    const { 'keep-alive-tmo': keepAlive, ...association } = options;
    const wanted = {
      ...connectOptions(given.has('keep-alive-tmo') ? { ...association, 'keep-alive-tmo': keepAlive } : association),
      transport,
      traddr,
      trsvcid,
      ...(options.nqn === undefined ? {} : { nqn: options.nqn }),
      signal: stop.signal,
    };
    const work: Promise<DiscoveredServices | DiscoveryResult> = options.referrals
      ? discoverAll(wanted)
      : discoverLog(wanted);
    const found = await advised({ transport, traddr, trsvcid }, work);
    const { services, omitted } = 'services' in found ? found : { services: [], omitted: 0 };
    const { genctr, records } = 'services' in found ? found.services[0]! : found;
    const others = services.slice(1);
    if (options['output-format'] === 'json') {
      const referrals = options.referrals ? { referrals: others.map(serviceFields) } : {};
      terminal.json({ genctr, records: records.map(entryFields), ...referrals });
    } else {
      printLog(records, genctr, terminal);
      for (const service of others) {
        if (service.error !== null) continue;
        terminal.line(`\nReferral to ${formatAddress(service.traddr, service.trsvcid)}`);
        printLog(service.records, service.genctr, terminal);
      }
    }
    for (const { error } of others) if (error !== null) terminal.note(`referral skipped: ${sentence(error)}`);
    if (omitted > 0) terminal.note(`${omitted} referrals were not followed: there are too many`);
    return 0;
  },
});

function printLog(records: readonly DiscoveryLogEntry[], genctr: number, terminal: Terminal): void {
  terminal.line(`\nDiscovery Log Number of Records ${records.length}, Generation counter ${genctr}`);
  records.map(entryFields).forEach((entry, i) => {
    terminal.line(terminal.style('bold', `=====Discovery Log Entry ${i}======`));
    for (const [name, value] of Object.entries(entry)) terminal.line(`${`${name}:`.padEnd(9)}${value}`);
  });
}

function serviceFields({ traddr, trsvcid, genctr, records, error }: DiscoveredServices['services'][number]): object {
  if (error !== null) return { traddr, trsvcid, error: error.message };
  return { traddr, trsvcid, genctr, records: records.map(entryFields) };
}

/** The fields that nvme-cli shows, in its order and with its words. */
function entryFields(entry: DiscoveryLogEntry): Record<string, string | number> {
  const named = (names: Readonly<Record<number, string>>, value: number): string => names[value] ?? String(value);
  return {
    trtype: named(TRTYPE_NAMES, entry.trtype),
    adrfam: named(ADRFAM_NAMES, entry.adrfam),
    subtype: named(SUBTYPE_NAMES, entry.subtype),
    treq: named(TREQ_NAMES, entry.treq),
    portid: entry.portid,
    trsvcid: entry.trsvcid,
    subnqn: entry.subnqn,
    traddr: entry.traddr,
    eflags: named(EFLAGS_NAMES, entry.eflags),
    sectype: named(SECTYPE_NAMES, entry.tsas[0] ?? 0),
  };
}
