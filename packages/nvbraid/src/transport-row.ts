import { NvbraidError } from '@nvbraid/base';
import { type Transport, transportRow, transports } from '@nvbraid/transport';
import { TRTYPE_NAMES } from '@nvbraid/wire';

/**
 * The row of the transport table called `name`, able to work here.
 * @throws NvbraidError EINVAL for a name that is not in the table, ENOTSUP where the system does not have the protocol
 */
export function usableRow(name: string): Transport {
  const row = transportRow(name);
  const reason = rowProblem(row);
  if (reason !== null) throw new NvbraidError('ENOTSUP', reason);
  return row;
}

/** Why a row cannot be used here, as a sentence; null when it can. */
export function rowProblem(row: Transport): string | null {
  const reason = row.unsupported();
  return reason === null ? null : `${sayTrtype(row.trtype)} not supported: ${reason}`;
}

/** The row for connections of a transport type: the preferred one if it is of that type, else that which has its name. */
export function rowNameFor(trtype: string, preferred: string): string {
  return transports[preferred]?.trtype === trtype ? preferred : trtype;
}

/** `transport type 4 (mptcp)` */
export function sayTrtype(trtype: string): string {
  return `transport type ${TRTYPE_NUMBERS[trtype]} (${trtype})`;
}

/** PCI is a word of configfs alone. */
const TRTYPE_NUMBERS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Object.entries(TRTYPE_NAMES).map(([number, name]) => [name, Number(number)])),
  pci: 0,
};
