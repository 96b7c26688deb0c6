import { type DiscoveredServices, type DiscoveryResult, discoverAll, discover as discoverLog } from 'nvbraid';
import { advised } from '../advice.ts';
import { connectOptions, formatAddress } from '../association.ts';
import { command } from '../command.ts';
import { DiscoveryProcess } from '../discovery-process.ts';
import { entryFields, printLog, serviceFields } from '../discovery-text.ts';
import { sentence } from '../explain.ts';
import { addressOptions, associationOptions, outputOptions } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';
import { UsageError } from '../usage-error.ts';

const { nqn, ...address } = addressOptions;

export const discover = command({
  name: 'discover',
  summary: 'Ask a discovery controller which subsystems there are',
  description: [
    'Connects to the discovery subsystem, reads its log and disconnects. Every port of nvbraid serve answers, not only 8009. With --referrals the services that it refers to are asked as well, each address once; one that does not answer is told of and skipped.',
    'With --persistent it stays connected: the discovery controller tells when its log changes, and what has come and gone is printed. A lost connection is made again without end. nvbraid connect-all --persistent connects what comes.',
  ],
  options: {
    ...address,
    nqn: { ...nqn, help: 'Discovery subsystem; else the well-known one' },
    ...associationOptions,
    referrals: { type: 'flag', help: 'Ask also the discovery controllers that are referred to' },
    persistent: {
      type: 'flag',
      short: 'p',
      help: 'Stay connected, with Keep Alive, and tell of changes; with --referrals also of those of the services referred to',
    },
    ...outputOptions,
  },
  examples: [
    { line: 'nvbraid discover -a 192.168.0.7', help: 'the target on port 8009 of another machine' },
    { line: 'nvbraid discover -a 127.0.0.1 -s 4420 -o json', help: 'by an I/O port, for a script' },
    { line: 'nvbraid discover -a 192.168.0.7 --persistent', help: 'and what comes and goes, until Ctrl-C' },
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
    if (options.persistent) {
      const { signal: _signal, ...service } = wanted;
      const how = { json: options['output-format'] === 'json', referrals: options.referrals };
      return await new DiscoveryProcess(service, terminal, how).run(stop);
    }
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
