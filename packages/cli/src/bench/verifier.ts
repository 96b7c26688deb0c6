import type { Memory } from '@nvbraid/base';
import {
  BlockKind,
  emptyStamp,
  HistoryChecker,
  type ReadTicket,
  readStamp,
  type Violation,
  type WriteTicket,
  writeStamp,
} from 'nvbraid';

export type VerifyMode = 'none' | 'crc32c' | 'history';

/** What a workload tells about its operations, and what judges the data. Tickets are the verifier's own. */
export interface Verifier {
  readonly mode: VerifyMode;
  /** Stamps the buffer that is going to be written. */
  beginWrite(writer: number, slba: number, blocks: number, memory: Memory): unknown;
  completeWrite(ticket: unknown): void;
  failWrite(ticket: unknown): void;
  beginRead(slba: number, blocks: number): unknown;
  /** Answers false when the data is wrong. */
  completeRead(ticket: unknown, memory: Memory): boolean;
  failRead(ticket: unknown): void;
  readonly checkedBlocks: number;
  readonly violation: Violation | null;
}

/** @param initial what the namespace holds: zeroes, or anything */
export function makeVerifier(mode: VerifyMode, blockSize: number, run: number, initial: 'zero' | 'any'): Verifier {
  if (mode === 'history') return new HistoryVerifier(new HistoryChecker({ blockSize, run, initial }));
  return mode === 'crc32c' ? new CrcVerifier(blockSize, run) : NOTHING;
}

const NOTHING: Verifier = {
  mode: 'none',
  beginWrite: () => null,
  completeWrite: () => {},
  failWrite: () => {},
  beginRead: () => null,
  completeRead: () => true,
  failRead: () => {},
  checkedBlocks: 0,
  violation: null,
};

/** Each block must be one that was written to it, in one piece; which of several does not matter. */
class CrcVerifier implements Verifier {
  readonly mode = 'crc32c';
  checkedBlocks = 0;
  violation: Violation | null = null;
  readonly #blockSize: number;
  readonly #run: number;
  readonly #stamp = emptyStamp();
  /** Blocks whose first write is complete. */
  readonly #written = new Set<number>();
  #seq = 0;

  constructor(blockSize: number, run: number) {
    this.#blockSize = blockSize;
    this.#run = run;
  }

  beginWrite(writer: number, slba: number, blocks: number, memory: Memory): CrcTicket {
    const seq = ++this.#seq >>> 0;
    for (let i = 0; i < blocks; i++) {
      writeStamp(memory, i * this.#blockSize, this.#blockSize, this.#run, writer, seq, slba + i);
    }
    return { slba, blocks, written: [] };
  }

  completeWrite(ticket: unknown): void {
    const { slba, blocks } = ticket as CrcTicket;
    for (let i = 0; i < blocks; i++) this.#written.add(slba + i);
  }

  failWrite(): void {}

  beginRead(slba: number, blocks: number): CrcTicket {
    const written: boolean[] = [];
    for (let i = 0; i < blocks; i++) written.push(this.#written.has(slba + i));
    return { slba, blocks, written };
  }

  completeRead(ticket: unknown, memory: Memory): boolean {
    const { slba, blocks, written } = ticket as CrcTicket;
    for (let i = 0; i < blocks && this.violation === null; i++) this.#check(memory, i, slba + i, written[i]!);
    this.checkedBlocks += blocks;
    return this.violation === null;
  }

  failRead(): void {}

  #check(memory: Memory, index: number, lba: number, written: boolean): void {
    const stamp = readStamp(memory, index * this.#blockSize, this.#blockSize, this.#run, this.#stamp);
    if (stamp.kind === BlockKind.Torn) this.#flag('torn', lba, `the block is torn: ${stamp.detail}`);
    else if (stamp.kind === BlockKind.Stamped && stamp.lba !== lba) {
      this.#flag('misplaced', lba, `the block holds what was written to LBA ${stamp.lba}`);
    } else if (stamp.kind !== BlockKind.Stamped && written) {
      this.#flag('stale', lba, 'the block does not hold what was written to it');
    }
  }

  #flag(kind: Violation['kind'], lba: number, what: string): void {
    this.violation = { kind, lba, message: `LBA ${lba}: ${what}`, history: [] };
  }
}

interface CrcTicket {
  readonly slba: number;
  readonly blocks: number;
  /** Of a read: whether each block was written before it began. */
  readonly written: readonly boolean[];
}

class HistoryVerifier implements Verifier {
  readonly mode = 'history';
  readonly #checker: HistoryChecker;

  constructor(checker: HistoryChecker) {
    this.#checker = checker;
  }

  get checkedBlocks(): number {
    return this.#checker.checkedBlocks;
  }

  get violation(): Violation | null {
    return this.#checker.violation;
  }

  beginWrite(writer: number, slba: number, blocks: number, memory: Memory): WriteTicket {
    return this.#checker.beginWrite(writer, slba, blocks, memory);
  }

  completeWrite(ticket: unknown): void {
    this.#checker.completeWrite(ticket as WriteTicket);
  }

  failWrite(ticket: unknown): void {
    this.#checker.failWrite(ticket as WriteTicket, true);
  }

  beginRead(slba: number, blocks: number): ReadTicket {
    return this.#checker.beginRead(slba, blocks);
  }

  completeRead(ticket: unknown, memory: Memory): boolean {
    return this.#checker.completeRead(ticket as ReadTicket, memory);
  }

  failRead(ticket: unknown): void {
    this.#checker.failRead(ticket as ReadTicket);
  }
}
