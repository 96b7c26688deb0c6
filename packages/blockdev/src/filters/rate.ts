import { fields, NvbraidError, settingTable, TOKEN_BUCKET_WORDS, TokenBucket } from '@nvbraid/base';
import { type BlockDevice, type DeviceSpec, type Io, IoOp, type OpenOptions } from '../block-device.ts';
import { systemTimers } from '../timers.ts';
import { HoldLine } from './hold-line.ts';
import {
  type PreparedTunable,
  passOn,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

/** Tokens of an operation, so that a rate of one operation in a second is one token per millisecond. */
const OP_TOKENS = 1000;
/** Tokens of this many bytes, likewise. */
const BYTES_UNIT = 4096;
const MOST_OPS = 1_000_000;
const MOST_BYTES = 2 ** 42;
const BURST_MS = 100;

const TABLE = settingTable({
  iops: fields.orNone(fields.wholeNumber(1, MOST_OPS, 1, 'Operations per second')),
  burst: fields.orNone(
    fields.wholeNumber(1, MOST_OPS, 1, 'Operations at once after a pause (default: those of 100 ms)'),
  ),
  bandwidth: fields.orNone(fields.byteCount(BYTES_UNIT, MOST_BYTES, BYTES_UNIT, 'Bytes read and written per second')),
  'bandwidth-burst': fields.orNone(
    fields.byteCount(BYTES_UNIT, 2 ** 32, BYTES_UNIT, 'Bytes at once after a pause (default: those of 100 ms)'),
  ),
});

export type RateOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Limits operations and bytes per second, of all threads together. @throws NvbraidError EINVAL */
export function rateFilter(lower: DeviceSpec, options: RateOptions = {}): TunableSpec {
  return tunableSpec(RATE, lower, options);
}

interface Buckets {
  readonly ops: TokenBucket;
  readonly bytes: TokenBucket;
}

function bucketsOf(area: SharedArrayBuffer): Buckets {
  return {
    ops: new TokenBucket(new Int32Array(area, 0, TOKEN_BUCKET_WORDS)),
    bytes: new TokenBucket(new Int32Array(area, TOKEN_BUCKET_WORDS * 4, TOKEN_BUCKET_WORDS)),
  };
}

type RateSettings = { readonly [K in keyof typeof TABLE]: number | null };

function limit({ ops, bytes }: Buckets, settings: RateSettings): void {
  const { iops, burst, bandwidth } = settings;
  ops.limit(iops ?? 0, (burst ?? Math.max(1, ((iops ?? 0) * BURST_MS) / 1000)) * OP_TOKENS);
  const perMs = bandwidth === null ? 0 : Math.max(1, bandwidth / BYTES_UNIT);
  const most = settings['bandwidth-burst'];
  bytes.limit(perMs, most === null ? perMs * BURST_MS : (most / BYTES_UNIT) * 1000);
}

export const RATE: TunableKind = {
  kind: 'rate',
  summary: 'Limits operations and bytes per second',
  keepsNothing: true,
  table: TABLE,
  areaBytes: () => 2 * TOKEN_BUCKET_WORDS * 4,
  check({ iops, burst, bandwidth, 'bandwidth-burst': bytes }) {
    if (burst !== null && iops === null) throw new NvbraidError('EINVAL', 'filter rate: burst needs iops');
    if (bytes !== null && bandwidth === null) {
      throw new NvbraidError('EINVAL', 'filter rate: bandwidth-burst needs bandwidth');
    }
  },
  beforeChange(prepared, settings) {
    const buckets = bucketsOf(prepared.area);
    limit(buckets, settings as RateSettings);
    buckets.ops.fill(systemTimers.nowMs());
    buckets.bytes.fill(systemTimers.nowMs());
  },
  open: (prepared, lower, options) => new RateFilter(prepared, lower, options),
};

class RateFilter extends TunableFilter<typeof TABLE> {
  readonly #buckets: Buckets;
  /** Those that wait, in the order they came; the line has at most one place: a look at the first of them. */
  readonly #waiting: Io[] = [];
  readonly #line: HoldLine<null>;
  #limited = false;
  #closed = false;

  constructor(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower, options);
    this.#buckets = bucketsOf(prepared.area);
    this.#line = new HoldLine(
      options,
      () => this.#advance(),
      () => {
        this.look();
        if (!this.#limited) this.#line.release(() => true);
      },
    );
  }

  protected override changed(): void {
    limit(this.#buckets, this.settings);
    this.#limited = this.#buckets.ops.limited || this.#buckets.bytes.limited;
  }

  /** Flush waits too: it is an operation, of no bytes. */
  submit(io: Io): boolean {
    this.look();
    if (!this.#limited || this.#closed) return this.lower.submit(io);
    if (this.#waiting.length === 0 && this.#waitMs(io) === 0) {
      this.#spend(io);
      return this.lower.submit(io);
    }
    this.#waiting.push(io);
    if (this.#line.length === 0) this.#line.add(null, this.#waitMs(this.#waiting[0]!));
    return false;
  }

  override async close(): Promise<void> {
    this.#closed = true;
    this.#line.release(() => true);
    await super.close();
  }

  #waitMs(io: Io): number {
    const now = this.timers.nowMs();
    return Math.max(this.#buckets.ops.waitMs(OP_TOKENS, now), this.#buckets.bytes.waitMs(byteTokens(io), now));
  }

  #spend(io: Io): void {
    this.#buckets.ops.spend(OP_TOKENS);
    this.#buckets.bytes.spend(byteTokens(io));
  }

  #advance(): void {
    this.look();
    let wait = 0;
    while (this.#waiting.length > 0) {
      if (this.#limited && !this.#closed) {
        wait = this.#waitMs(this.#waiting[0]!);
        if (wait > 0) break;
      }
      const io = this.#waiting.shift()!;
      this.#spend(io);
      passOn(io, this.lower);
    }
    if (this.#waiting.length > 0 && this.#line.length === 0) this.#line.add(null, wait);
  }
}

/** Zeroing and deallocating move no data. */
function byteTokens(io: Io): number {
  const moves = io.op === IoOp.Read || io.op === IoOp.Write || io.op === IoOp.CompareAndWrite;
  return moves ? (io.length / BYTES_UNIT) * 1000 : 0;
}
