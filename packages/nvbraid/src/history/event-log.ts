/** The last events of a history, in fixed memory: what a violation's report is made of. */
export const EventKind = {
  WriteBegins: 0,
  WriteCompletes: 1,
  WriteFails: 2,
  WriteRefused: 3,
  WriteSettled: 4,
  ReadBegins: 5,
  ReadReturns: 6,
  ReadFails: 7,
  ZeroesBegin: 8,
  FlushCompletes: 9,
  Crash: 10,
} as const;
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

const TEXT: readonly string[] = [
  'write begins',
  'write completes',
  'write fails: it may have happened',
  'write is refused: it must not have happened',
  'write is settled: it happened before now or never',
  'read begins',
  'read returns',
  'read fails',
  'zeroing begins',
  'flush completes',
  'crash',
];

const FIELDS = 7;
const FIRST_EVENTS = 256;

export class EventLog {
  readonly #limit: number;
  /** Grows to the limit, then the oldest events make room. */
  #data = new Float64Array(FIRST_EVENTS * FIELDS);
  #capacity = FIRST_EVENTS;
  #count = 0;

  /** @param limit events kept: 256 times a power of two. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @param begun the tick at which the operation began: it ties the lines of one operation together. */
  add(tick: number, kind: EventKind, slba: number, blocks: number, writer: number, seq: number, begun: number): void {
    if (this.#count === this.#capacity && this.#capacity < this.#limit) this.#grow();
    const at = (this.#count++ % this.#capacity) * FIELDS;
    const data = this.#data;
    data[at] = tick;
    data[at + 1] = kind;
    data[at + 2] = slba;
    data[at + 3] = blocks;
    data[at + 4] = writer;
    data[at + 5] = seq;
    data[at + 6] = begun;
  }

  /** The events that touch `lba`, oldest first, at most `limit` of them, as lines. */
  linesOf(lba: number, limit: number): string[] {
    const lines: string[] = [];
    const oldest = Math.max(0, this.#count - this.#capacity);
    for (let i = this.#count - 1; i >= oldest && lines.length < limit; i--) {
      const line = this.#line((i % this.#capacity) * FIELDS, lba);
      if (line !== null) lines.push(line);
    }
    return lines.reverse();
  }

  #grow(): void {
    const larger = new Float64Array(this.#data.length * 2);
    larger.set(this.#data);
    this.#data = larger;
    this.#capacity *= 2;
  }

  #line(at: number, lba: number): string | null {
    const [tick, kind, slba, blocks, writer, seq, begun] = this.#data.subarray(at, at + FIELDS) as unknown as number[];
    const everywhere = kind === EventKind.FlushCompletes || kind === EventKind.Crash;
    if (!everywhere && (lba < slba! || lba >= slba! + blocks!)) return null;
    const time = `#${tick}`.padStart(8);
    if (everywhere) return `${time} ${TEXT[kind!]}`;
    const range = blocks === 1 ? `LBA ${slba}` : `LBA ${slba}-${slba! + blocks! - 1}`;
    const who = writer! >= 0 ? ` (writer ${writer} seq ${seq})` : '';
    const since = begun === tick ? '' : `, begun at #${begun}`;
    return `${time} ${TEXT[kind!]}${who}, ${range}${since}`;
  }
}
