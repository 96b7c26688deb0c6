import { Memory, NvbraidError, type Outbox, type Rng } from '@nvbraid/base';
import type { HostQueue } from '@nvbraid/host';
import type { QueuePair } from '@nvbraid/target';

export type Direction = 'toTarget' | 'toHost';

/** What either core looks like from the middle. */
interface End {
  receive(memory: Memory, start: number, end: number): void;
  transmit(out: Outbox): boolean;
  readonly finished: boolean;
  readonly directLength: number;
  readonly directMemory: Memory;
  readonly directOffset: number;
  directReceived(length: number): void;
}

/** Longest piece of a split delivery: several PDUs, or a part of one. */
const PIECE_BYTES = 6000;

/** The bytes under way in one direction, and what happens to them. */
export class Wire {
  /** Bytes that have been handed over. */
  delivered = 0;
  /** Nothing is handed over while true; nothing is lost either. */
  stalled = false;
  /** This byte of the stream (0 is the first) arrives with one bit changed; -1: none. */
  corruptAt = -1;
  /** The connection breaks when this many bytes have arrived; -1: never. */
  dropAt = -1;
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes);
    this.#length += bytes.length;
  }

  /** The next `length` bytes, as they arrive. */
  take(length: number): Uint8Array {
    const piece = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const chunk = this.#chunks[0]!;
      const n = Math.min(chunk.length, length - at);
      piece.set(chunk.subarray(0, n), at);
      if (n === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(n);
      at += n;
    }
    const corrupt = this.corruptAt - this.delivered;
    if (corrupt >= 0 && corrupt < length) piece[corrupt]! ^= 1 << (this.corruptAt % 8);
    this.#length -= length;
    this.delivered += length;
    return piece;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#length = 0;
  }
}

/** The connection of one queue: two byte queues between a host core and a target core, and their faults. */
export class PairLink {
  readonly host: HostQueue;
  readonly target: QueuePair;
  readonly toTarget = new Wire();
  readonly toHost = new Wire();
  open = true;
  readonly #closed: (link: PairLink) => void;

  constructor(host: HostQueue, target: QueuePair, closed: (link: PairLink) => void) {
    this.host = host;
    this.target = target;
    this.#closed = closed;
  }

  get qid(): number {
    return this.host.qid;
  }

  /** Keeps bytes from arriving, in one direction or in both. */
  stall(direction?: Direction): void {
    if (direction !== 'toHost') this.toTarget.stalled = true;
    if (direction !== 'toTarget') this.toHost.stalled = true;
  }

  resume(): void {
    this.toTarget.stalled = false;
    this.toHost.stalled = false;
  }

  /** Breaks the connection now; what is under way is lost. */
  drop(): void {
    this.#close(new NvbraidError('ECONNRESET', `queue ${this.qid}: connection reset by the test`));
  }

  /** Lets both ends say what they have to say; true when one of them said something. */
  pump(out: Outbox): boolean {
    const host = pumpEnd(this.host, this.toTarget, out);
    return pumpEnd(this.target, this.toHost, out) || host;
  }

  /** Directions in which bytes can be delivered. */
  deliverable(): Direction[] {
    const directions: Direction[] = [];
    if (this.open && this.toTarget.length > 0 && !this.toTarget.stalled) directions.push('toTarget');
    if (this.open && this.toHost.length > 0 && !this.toHost.stalled) directions.push('toHost');
    return directions;
  }

  /** Hands over all bytes of one direction; with an Rng one piece of random length. */
  deliver(direction: Direction, rng: Rng | null): void {
    const wire = this[direction];
    let length = rng === null ? wire.length : rng.between(1, Math.min(wire.length, PIECE_BYTES));
    if (wire.dropAt >= 0) length = Math.min(length, wire.dropAt - wire.delivered);
    if (length > 0) {
      const end = direction === 'toTarget' ? this.target : this.host;
      if (end.finished) wire.take(length);
      else receive(end, wire.take(length), rng);
    }
    if (this.open && wire.dropAt >= 0 && wire.delivered >= wire.dropAt) this.drop();
  }

  /** Closes the connection if one end has said everything; true when it did. */
  closeIfFinished(): boolean {
    const over =
      (this.host.finished && (this.host.mustReset || this.toTarget.length === 0)) ||
      (this.target.finished && this.toHost.length === 0);
    if (this.open && over) this.#close(null);
    return over;
  }

  #close(error: NvbraidError | null): void {
    if (!this.open) return;
    this.open = false;
    this.toTarget.clear();
    this.toHost.clear();
    this.#closed(this);
    this.host.closed(error);
  }
}

function pumpEnd(end: End, wire: Wire, out: Outbox): boolean {
  let said = false;
  for (let more = true; more; ) {
    more = end.transmit(out);
    if (out.bytes === 0) break;
    wire.push(out.toBytes());
    out.reset();
    said = true;
  }
  return said;
}

/** As a transport does: payload that is expected goes straight to its destination, the rest through a receive buffer. */
function receive(end: End, bytes: Uint8Array, rng: Rng | null): void {
  let at = 0;
  const direct = rng?.chance(0.5) ? Math.min(end.directLength, bytes.length) : 0;
  if (direct > 0) {
    end.directMemory.bytes.set(bytes.subarray(0, direct), end.directOffset);
    end.directReceived(direct);
    at = direct;
  }
  if (at === bytes.length) return;
  const memory = Memory.alloc(bytes.length - at);
  memory.bytes.set(bytes.subarray(at));
  end.receive(memory, 0, memory.length);
  // Nothing may be looked at after `receive` has returned.
  memory.bytes.fill(0xdb);
}
