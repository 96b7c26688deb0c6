import { Memory, Rng } from '@nvbraid/base';
import { type HostNamespace, LatencyHistogram, NvbraidError } from 'nvbraid';
import { Timeline } from './timeline.ts';
import type { Verifier } from './verifier.ts';

export type Rw = 'read' | 'write' | 'randread' | 'randwrite' | 'randrw';

export interface WorkloadOptions {
  readonly rw: Rw;
  /** Of randrw: percent of operations that read. */
  readonly rwmixread: number;
  /** Bytes of one operation, a multiple of the block size. */
  readonly blockBytes: number;
  readonly iodepth: number;
  /** Bytes of the namespace that are used, from its beginning; a multiple of `blockBytes`. */
  readonly sizeBytes: number;
  readonly seed: number;
  /** Operations after which it ends; without, it goes on until it is stopped. */
  readonly ios?: number;
  /**
   * No two operations on one position are under way at a time. A write that fails over is executed twice sometimes, and an
   * overlapping one may be seen between the two; and target processes that share a file do not keep a block whole against
   * each other while it is written.
   */
  readonly apart?: boolean;
  /** Milliseconds of each stretch of time whose bytes are kept; without, none are. */
  readonly sampleMs?: number;
  readonly verifier: Verifier;
}

/** Counts of one direction. */
export class Direction {
  ios = 0;
  bytes = 0;
  /** These and the longest time of an operation are those of the whole run, counted or not. */
  errors = 0;
  longestMs = 0;
  readonly latency = new LatencyHistogram();
  /** Since the last look of whoever shows progress. */
  readonly recent = new LatencyHistogram();
  #counting = true;

  /** Begins to count once more. */
  restart(): void {
    this.ios = 0;
    this.bytes = 0;
    this.latency.clear();
    this.recent.clear();
  }

  /** What ends from now on is not counted. */
  freeze(): void {
    this.#counting = false;
  }

  done(bytes: number, ms: number): void {
    this.longestMs = Math.max(this.longestMs, ms);
    if (!this.#counting) return;
    this.ios++;
    this.bytes += bytes;
    this.latency.record(ms);
    this.recent.record(ms);
  }
}

/**
 * Keeps `iodepth` operations under way, each slot a writer of its own, so that writers overlap. The first error, and
 * the first block that is wrong, ends it.
 */
export class Workload {
  readonly read = new Direction();
  readonly write = new Direction();
  timeline = new Timeline(performance.now());
  /** Why it ended early. */
  error: NvbraidError | null = null;
  readonly #namespace: HostNamespace;
  readonly #options: WorkloadOptions;
  readonly #rng: Rng;
  readonly #positions: number;
  readonly #blocksPerIo: number;
  /** Positions that have been written, for the check at the end. */
  readonly #written = new Set<number>();
  /** With `apart`: positions that are being read or written. */
  readonly #busy = new Set<number>();
  #sequential = 0;
  #started = 0;
  #stopping = false;
  #slots: Promise<void>[] = [];

  constructor(namespace: HostNamespace, options: WorkloadOptions) {
    this.#namespace = namespace;
    this.#options = options;
    this.#rng = new Rng(options.seed);
    this.#positions = options.sizeBytes / options.blockBytes;
    this.#blocksPerIo = options.blockBytes / namespace.blockSize;
  }

  /** Positions that were written so far; each is `blockBytes` long. */
  get writtenPositions(): number {
    return this.#written.size;
  }

  start(): void {
    this.timeline = new Timeline(performance.now(), this.#options.sampleMs);
    this.#slots = Array.from({ length: this.#options.iodepth }, (_, slot) => this.#run(slot));
  }

  /** Fulfilled when it has ended by itself: after `ios` operations, or an error. */
  async ended(): Promise<void> {
    await Promise.all(this.#slots);
  }

  /** Lets what is under way end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.ended();
  }

  /**
   * Reads everything that was written once more and judges it.
   * @param progress called now and then with the share that is done
   */
  async verifyWritten(signal: AbortSignal, progress: (share: number) => void = () => {}): Promise<void> {
    const positions = [...this.#written].sort((a, b) => a - b);
    let next = 0;
    const one = async (): Promise<void> => {
      const memory = Memory.alloc(this.#options.blockBytes);
      while (next < positions.length && this.error === null && !signal.aborted) {
        const position = positions[next++]!;
        if (next % 256 === 0) progress(next / positions.length);
        await this.#readOne(position, memory, null);
      }
    };
    await Promise.all(Array.from({ length: Math.min(this.#options.iodepth, 16) }, one));
  }

  async #run(slot: number): Promise<void> {
    const memory = Memory.alloc(this.#options.blockBytes);
    this.#rng.fill(memory.bytes);
    const most = this.#options.ios ?? Number.POSITIVE_INFINITY;
    while (!this.#stopping && this.error === null && this.#started++ < most) {
      const wanted = this.#nextPosition();
      const position = this.#options.apart === true ? this.#take(wanted) : wanted;
      if (this.#nextReads()) await this.#readOne(position, memory, this.read);
      else await this.#writeOne(slot, position, memory);
      this.#busy.delete(position);
    }
  }

  async #readOne(position: number, memory: Memory, count: Direction | null): Promise<void> {
    const { verifier } = this.#options;
    const slba = position * this.#blocksPerIo;
    const ticket = verifier.beginRead(slba, this.#blocksPerIo);
    const start = performance.now();
    try {
      await this.#namespace.read(slba, memory.bytes);
    } catch (error) {
      verifier.failRead(ticket);
      this.#failed(error, count ?? this.read);
      return;
    }
    if (count !== null) this.#done(count, start);
    if (verifier.completeRead(ticket, memory) || this.error !== null) return;
    this.error = new NvbraidError('EIO', `wrong data: ${verifier.violation!.message}`);
  }

  async #writeOne(slot: number, position: number, memory: Memory): Promise<void> {
    const { verifier } = this.#options;
    const slba = position * this.#blocksPerIo;
    const ticket = verifier.beginWrite(slot, slba, this.#blocksPerIo, memory);
    if (verifier.mode !== 'none') this.#written.add(position);
    const start = performance.now();
    try {
      await this.#namespace.write(slba, memory.bytes);
    } catch (error) {
      verifier.failWrite(ticket);
      this.#failed(error, this.write);
      return;
    }
    this.#done(this.write, start);
    verifier.completeWrite(ticket);
  }

  #done(direction: Direction, startMs: number): void {
    const now = performance.now();
    direction.done(this.#options.blockBytes, now - startMs);
    this.timeline.record(this.#options.blockBytes, now);
  }

  #failed(error: unknown, direction: Direction): void {
    direction.errors++;
    this.error ??= error instanceof NvbraidError ? error : new NvbraidError('EIO', String(error), { cause: error });
  }

  /** This position or the next one that is free; there are more positions than slots. */
  #take(wanted: number): number {
    let position = wanted;
    while (this.#busy.has(position)) position = (position + 1) % this.#positions;
    this.#busy.add(position);
    return position;
  }

  #nextReads(): boolean {
    const { rw, rwmixread } = this.#options;
    if (rw === 'randrw') return this.#rng.below(100) < rwmixread;
    return rw === 'read' || rw === 'randread';
  }

  #nextPosition(): number {
    const { rw } = this.#options;
    if (rw === 'read' || rw === 'write') return this.#sequential++ % this.#positions;
    return this.#rng.below(this.#positions);
  }
}
