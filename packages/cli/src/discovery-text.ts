import { ADRFAM_NAMES, EFLAGS_NAMES, SECTYPE_NAMES, SUBTYPE_NAMES, TREQ_NAMES, TRTYPE_NAMES } from '@nvbraid/wire';
import type { DiscoveredServices, DiscoveryLogEntry } from 'nvbraid';
import type { Terminal } from './terminal.ts';

/** A log as nvme-cli prints it. */
export function printLog(records: readonly DiscoveryLogEntry[], genctr: number, terminal: Terminal): void {
  terminal.line(`\nDiscovery Log Number of Records ${records.length}, Generation counter ${genctr}`);
  records.map(entryFields).forEach((entry, i) => {
    terminal.line(terminal.style('bold', `=====Discovery Log Entry ${i}======`));
    for (const [name, value] of Object.entries(entry)) terminal.line(`${`${name}:`.padEnd(9)}${value}`);
  });
}

export function serviceFields({
  traddr,
  trsvcid,
  genctr,
  records,
  error,
}: DiscoveredServices['services'][number]): object {
  if (error !== null) return { traddr, trsvcid, error: error.message };
  return { traddr, trsvcid, genctr, records: records.map(entryFields) };
}

/** The fields that nvme-cli shows, in its order and with its words. */
export function entryFields(entry: DiscoveryLogEntry): Record<string, string | number> {
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
