import { NvbraidError } from '@nvbraid/base';
import { ADRFAM_NAMES, TRTYPE_NAMES } from '@nvbraid/wire';
import { TRADDR_BYTES, TRSVCID_BYTES } from './limits.ts';

/** A transport address as an operator writes it. */
export interface AddressOptions {
  /** As in configfs: tcp, mptcp, rdma, fc, loop. */
  readonly trtype: string;
  /** As in configfs: ipv4, ipv6, ib, fc, loop. */
  readonly adrfam: string;
  readonly traddr: string;
  readonly trsvcid: string;
}

/** The same with the numbers of the specification, as discovery log entries tell it. */
export interface TransportAddress {
  readonly trtype: number;
  readonly adrfam: number;
  readonly traddr: string;
  readonly trsvcid: string;
}

/** @throws NvbraidError EINVAL */
export function addressOf({ trtype, adrfam, traddr, trsvcid }: AddressOptions): TransportAddress {
  fits(traddr, TRADDR_BYTES, 'traddr');
  fits(trsvcid, TRSVCID_BYTES, 'trsvcid');
  return {
    trtype: named(TRTYPE_NAMES, trtype, 'trtype'),
    adrfam: named(ADRFAM_NAMES, adrfam, 'adrfam'),
    traddr,
    trsvcid,
  };
}

function named(names: Readonly<Record<number, string>>, name: string, what: string): number {
  const entry = Object.entries(names).find(([, spelled]) => spelled === name);
  if (entry === undefined) throw new NvbraidError('EINVAL', `unknown ${what}: ${name}`);
  return Number(entry[0]);
}

const encoder = new TextEncoder();

function fits(text: string, bytes: number, what: string): void {
  if (encoder.encode(text).length > bytes) throw new NvbraidError('EINVAL', `${what} is longer than ${bytes} bytes`);
}
