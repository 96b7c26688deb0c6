import { isIP } from 'node:net';
import { NvbraidError } from '@nvbraid/base';
import { type DiscoveryEntry, Subtype, TRTYPE_NAMES, Treq } from '@nvbraid/wire';
import type { ControllerOptions } from '../connect-options.ts';
import { NO_TLS } from '../tls-refusal.ts';
import { rowNameFor } from '../transport-row.ts';

/** How controllers are connected that a discovery log leads to; what the log says of a path is left out. */
export type PathDefaults = Partial<Omit<ControllerOptions, 'nqn' | 'traddr' | 'trsvcid' | 'signal'>>;

/** A discovery controller, and how it and what it tells about are connected. */
export interface DiscoveryService extends PathDefaults {
  readonly traddr: string;
  /** Default 8009. */
  readonly trsvcid?: number | string;
  /** Default: the well-known discovery subsystem. */
  readonly nqn?: string;
}

/** What a record leads to. */
export interface RecordAddress {
  readonly nqn: string;
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
}

/** Treq 1:0 */
const SECURE_CHANNEL = 3;

/** Transport types that a host can be sent to from somewhere else. */
const REACHABLE = ['tcp', 'mptcp'];

/**
 * @param asked row of the transport table by which the log was read: stays what it is for records of its type
 * @throws NvbraidError ENOTSUP, EPROTO for a record that leads nowhere this host can go
 */
export function recordAddress(record: DiscoveryEntry, asked = 'tcp'): RecordAddress {
  const { traddr, trsvcid, subnqn } = record;
  const where = `${printable(subnqn)} at ${printable(traddr)}`;
  const name = TRTYPE_NAMES[record.trtype] ?? `type ${record.trtype}`;
  if (!REACHABLE.includes(name)) {
    throw new NvbraidError('ENOTSUP', `${where}: transport ${name} is not supported`);
  }
  if ((record.treq & SECURE_CHANNEL) === Treq.Required) {
    throw new NvbraidError('ENOTSUP', `${where}: it demands TLS: ${NO_TLS}`);
  }
  // Names are not resolved: a log holds addresses (NVMe-TCP 3.8.1), and what it names must not depend on who reads it.
  const port = /^[0-9]{1,5}$/.test(trsvcid) ? Number(trsvcid) : 0;
  if (isIP(traddr) === 0 || port < 1 || port > 65535) {
    throw new NvbraidError('EPROTO', `${where}: port ${printable(trsvcid)}: this is no address`, { retryable: false });
  }
  if (subnqn === '' || printable(subnqn) !== subnqn) {
    throw new NvbraidError('EPROTO', `${where}: this is no name of a subsystem`, { retryable: false });
  }
  return { nqn: subnqn, transport: rowNameFor(name, asked), traddr, trsvcid: port };
}

/** The same for all spellings of an address. */
export function addressKey({
  traddr,
  trsvcid,
}: {
  readonly traddr: string;
  readonly trsvcid: number | string;
}): string {
  return JSON.stringify([sameSpelling(traddr), Number(trsvcid)]);
}

/** Which record of a log this is: those that lead to the same place are one. */
export function recordKey(record: DiscoveryEntry): string {
  const { trtype, subtype, subnqn, traddr, trsvcid } = record;
  return JSON.stringify([trtype, subtype, subnqn, sameSpelling(traddr), trsvcid]);
}

export function isReferral(record: DiscoveryEntry): boolean {
  return record.subtype === Subtype.Referral;
}

function sameSpelling(traddr: string): string {
  if (isIP(traddr) !== 6) return traddr;
  try {
    return new URL(`http://[${traddr}]`).hostname;
  } catch {
    return traddr; // with a zone
  }
}

/** What another machine has sent, safe to print. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?') || 'nothing';
}
