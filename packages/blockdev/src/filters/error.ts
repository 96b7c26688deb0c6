import { fields, settingTable, skipOne, takeOne } from '@nvbraid/base';
import { type DeviceSpec, type Io, IoOp, IoResult } from '../block-device.ts';
import { kindOf, opBits, opsSetting } from './op-kinds.ts';
import { SharedSettings } from './shared-settings.ts';
import {
  answer,
  byteRange,
  ENABLED,
  Passages,
  SEED,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

const RESULTS = {
  'media-error': IoResult.MediaError,
  'no-space': IoResult.NoSpace,
  'read-only': IoResult.ReadOnly,
  'not-supported': IoResult.NotSupported,
  failed: IoResult.Failed,
} as const;
const RESULT_NAMES = ['media-error', 'no-space', 'read-only', 'not-supported', 'failed'] as const;

const TABLE = settingTable({
  enabled: ENABLED,
  ops: opsSetting('read write', 'Operations that fail'),
  result: fields.choice(RESULT_NAMES, 'media-error', 'How they fail'),
  lba: fields.orNone(fields.numberRange(Number.MAX_SAFE_INTEGER, 'Only those that touch these blocks')),
  probability: fields.probability(1, 'How many of them fail'),
  skip: fields.wholeNumber(0, 0x7fffffff, 0, 'Lets this many of them through first'),
  count: fields.orNone(fields.wholeNumber(1, 0x7fffffff, 1, 'Fails this many, then no more')),
  where: fields.choice(
    ['before', 'after'],
    'before',
    'Whether an operation fails before it reaches what is below, or is done there all the same',
  ),
  seed: SEED,
});

export type ErrorOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Fails operations. @throws NvbraidError EINVAL */
export function errorFilter(lower: DeviceSpec, options: ErrorOptions = {}): TunableSpec {
  return tunableSpec(ERROR, lower, options);
}

const SKIP = 0;
/** Negative: no end. */
const LEFT = 1;
const FAILED = 2;

export const ERROR: TunableKind = {
  kind: 'error',
  summary: 'Fails operations, by kind, place, number or chance',
  keepsNothing: true,
  table: TABLE,
  beforeChange(prepared, settings, given) {
    const counters = SharedSettings.counters(prepared.shared);
    if (given.has('skip')) Atomics.store(counters, SKIP, settings.skip as number);
    if (given.has('count')) Atomics.store(counters, LEFT, (settings.count as number | null) ?? -1);
  },
  report(prepared) {
    const counters = SharedSettings.counters(prepared.shared);
    const left = Atomics.load(counters, LEFT);
    return { failed: Atomics.load(counters, FAILED), left: left < 0 ? null : left };
  },
  open: (prepared, lower, options) => new ErrorFilter(prepared, lower, options),
};

class ErrorFilter extends TunableFilter<typeof TABLE> {
  readonly #passages = new Passages((passage, io) => {
    if (io.result === IoResult.Ok) io.result = passage.mark as IoResult;
    return true;
  });
  #ops = 0;
  #result: IoResult = IoResult.MediaError;
  /** Bytes; the end is not included. */
  #from = 0;
  #to = Number.POSITIVE_INFINITY;

  protected override changed(): void {
    const { enabled, ops, result, lba } = this.settings;
    this.#ops = enabled ? opBits(ops) : 0;
    this.#result = RESULTS[result];
    [this.#from, this.#to] = byteRange(lba, this.blockSize);
  }

  submit(io: Io): boolean {
    this.look();
    if ((this.#ops & (1 << kindOf(io.op))) === 0 || !this.#matches(io) || !this.#takes()) return this.lower.submit(io);
    Atomics.add(this.counters, FAILED, 1);
    if (this.settings.where === 'before') return answer(io, this.#result);
    return this.#passages.submit(io, this.lower, this.#result);
  }

  /** A Flush is about no block in particular. */
  #matches(io: Io): boolean {
    const { probability } = this.settings;
    if (
      io.op === IoOp.Flush ? this.settings.lba !== null : io.offset >= this.#to || io.offset + io.length <= this.#from
    ) {
      return false;
    }
    return probability === 1 || this.rng.chance(probability);
  }

  #takes(): boolean {
    return !skipOne(this.counters, SKIP) && takeOne(this.counters, LEFT);
  }
}
