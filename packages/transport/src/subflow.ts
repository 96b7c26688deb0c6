import type { Endpoint } from './transport.ts';

/** States of TCP as in Linux's tcp_info, by number. */
const TCP_STATES = [
  'unknown',
  'established',
  'syn-sent',
  'syn-recv',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'close',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
  'new-syn-recv',
] as const;

export type TcpState = (typeof TCP_STATES)[number];

export function tcpState(number: number): TcpState {
  return TCP_STATES[number] ?? 'unknown';
}

/** One of the TCP connections that a connection of several is made of. Numbers count from its beginning. */
export interface Subflow {
  /** Unique in its connection, the first is 1; null where the kernel does not tell (before Linux 6.5). */
  readonly id: number | null;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly state: TcpState;
  /** Payload sent, what was sent again included. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly bytesRetransmitted: number;
  /** Segments that were sent again. */
  readonly retransmits: number;
  /** Smoothed round-trip time in microseconds. */
  readonly rttUs: number;
  /** Used only while no other subflow works; null where it was not asked for, or the kernel does not tell. */
  readonly backup: boolean | null;
  /**
   * What was sent has not been answered for two timeouts in a row. The kernel has a mark of its own, which it shows to
   * nobody; it is set for the same reason. A subflow that has nothing to send cannot become stale.
   */
  readonly stale: boolean;
}

/** What a connection of several subflows is made of. */
export interface SubflowReport {
  /** The same for as long as the connection lives, and no other has it. */
  readonly connection: string;
  /**
   * True when it is a plain TCP connection: the peer does not speak Multipath TCP, or something between does not let it
   * through. Null where the kernel does not tell (before Linux 5.16).
   */
  readonly fallback: boolean | null;
  /** How many the kernel has; more than are listed when there are more than `SUBFLOWS_MAX`. */
  readonly count: number;
  readonly subflows: readonly Subflow[];
}
