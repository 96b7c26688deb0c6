import type { Memory, NvbraidError, Outbox } from '@nvbraid/base';
import type { SubflowReport } from './subflow.ts';

/*
 * A transport is a row in a table. Nothing outside a row asks which one it is.
 */

/** One end of a connection. */
export interface Endpoint {
  /** Numeric address without brackets, e.g. `127.0.0.1`, `::1`; the name of the link for `loop`, the path for `unix`. */
  readonly address: string;
  readonly port: number;
  readonly family: 'ipv4' | 'ipv6' | 'loop' | 'unix';
}

/** Socket options; a connection keeps them for as long as it lives. */
export interface SocketOptions {
  /** IP type of service, 0-255; left alone when absent. */
  readonly tos?: number;
  /** SO_PRIORITY; left alone when absent. */
  readonly priority?: number;
}

export interface ListenOptions extends SocketOptions {
  readonly address: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly backlog?: number;
  /**
   * Told, once until a connection is accepted again, that the system has nothing left for another one: open files,
   * memory. The listener tries again by itself; whoever waits stays in the backlog.
   */
  refused?(error: NvbraidError): void;
  /** Takes connections of the other protocol that `otherProtocol` tells of. Default false: they are reset. */
  readonly allowFallback?: boolean;
  /**
   * Told of each connection that came in by another protocol than the row's: the system gives a listener of Multipath TCP
   * plain TCP connections too, when that is all that the peer speaks.
   */
  otherProtocol?(remote: Endpoint, taken: boolean): void;
}

export interface ConnectOptions extends SocketOptions {
  readonly address: string;
  readonly port: number;
  /** Source address (nvme-cli: host-traddr) and device (host-iface). */
  readonly hostTraddr?: string;
  readonly hostIface?: string;
  /** Milliseconds to wait for the connection; default 10 s. */
  readonly timeoutMs?: number;
  /** Told what the system refused that a connection can do without, as a sentence. */
  note?(sentence: string): void;
}

/**
 * What a connection tells its owner. All calls come from the thread that owns the connection, and never from inside a
 * call of the owner to a connection.
 */
export interface ConnectionHandler {
  /** Bytes `start` to `end` of `memory` have arrived. They are valid until the call returns; all must be taken. */
  received(memory: Memory, start: number, end: number): void;
  /**
   * Optional, asked before each receive: false leaves what has arrived where it is, and it is offered again soon. For
   * a longer time call `pause`, which is allowed in here.
   */
  mayReceive?(): boolean;
  /** Everything that `send` had to keep has gone out. */
  drained(): void;
  /** Once, last: the connection is gone. `error` is null when it was closed in order by either side. */
  closed(error: NvbraidError | null): void;
  /**
   * Optional: bytes of the stream that may be received straight to their destination. The transport asks before each
   * receive; when `directLength` is not 0 the next bytes belong at `directOffset` of `directMemory`, and after storing
   * n of them there it calls `directReceived(n)`. A transport that cannot do it delivers the bytes by `received`.
   */
  directLength?(): number;
  directMemory?(): Memory;
  directOffset?(): number;
  directReceived?(length: number): void;
}

export interface Connection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Bytes accepted by `send` that the kernel has not taken yet. 0 means that the next `send` may go out at once. */
  readonly backlogBytes: number;
  /** Begins to deliver; called once, before anything else. */
  start(handler: ConnectionHandler): void;
  /** Takes everything out of the outbox, in order, and resets it; what cannot go out now is copied and sent later. */
  send(out: Outbox): void;
  /** Stops and resumes delivery of received bytes (back-pressure towards the peer). */
  pause(): void;
  resume(): void;
  /**
   * Sends what is kept, then closes in order; what still arrives is thrown away. `closed(null)` follows when the peer
   * has ended too, or has not within 5 s; ETIMEDOUT if what is kept cannot be sent in that time. The same happens by
   * itself when the peer ends.
   */
  end(): void;
  /** Closes at once with a reset (linger 0). `closed` follows with `error`. */
  destroy(error: NvbraidError | null): void;
  /**
   * Gives up the file descriptor without closing it, for another thread to adopt: no handler call comes any more.
   * Only while `canDetach`. Bytes not received yet wait for the new owner.
   */
  detach(): number;
  /**
   * True when the descriptor can change hands now: the row can hand off, the connection is open in both directions,
   * nothing is left to send and no received byte is on its way to the handler.
   */
  readonly canDetach: boolean;
  /**
   * What it is made of, in rows whose connections have several subflows; null when it is closed or given away. To be
   * called by its owner, and not for every command: it asks the system.
   * @param backup whether to find out which of them are backups, which takes longer
   */
  subflows?(backup: boolean): SubflowReport | null;
}

export interface Listener {
  readonly local: Endpoint;
  close(): Promise<void>;
}

/** One row of the table. */
export interface Transport {
  /** The word of `-t`; unique in the table. */
  readonly name: string;
  /** Transport type by the word of addr_trtype; its number in the discovery log is of the wire package. */
  readonly trtype: string;
  /** True when a connection's descriptor can be handed to a reactor thread; otherwise targets run with 0 reactors. */
  readonly canHandOff: boolean;
  /** True when connections may have several subflows, which `Connection.subflows` tells of. */
  readonly hasSubflows?: boolean;
  /** Null when it works here; otherwise a sentence that says why not. */
  unsupported(): string | null;
  /** @throws NvbraidError EADDRINUSE, EACCES, EINVAL, ENOTSUP */
  listen(options: ListenOptions, onConnection: (connection: Connection) => void): Promise<Listener>;
  /** @throws NvbraidError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL, ENOTSUP */
  connect(options: ConnectOptions): Promise<Connection>;
  /** Takes over a descriptor that `detach` gave up in another thread. */
  adopt(fd: number): Connection;
  /**
   * A mark that tells the connection behind a descriptor from every other one, also from one that gets the same number
   * later; the empty string when there is none.
   */
  identify(fd: number): string;
}
