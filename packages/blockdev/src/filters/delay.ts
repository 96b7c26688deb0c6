import { fields, settingTable, takeOne } from '@nvbraid/base';
import type { BlockDevice, DeviceSpec, Io, OpenOptions } from '../block-device.ts';
import { type DelayModel, delayModel, delaySetting } from './delays.ts';
import { HoldLine } from './hold-line.ts';
import { kindOf, OP_KINDS, opBits, opsSetting } from './op-kinds.ts';
import { SharedSettings } from './shared-settings.ts';
import {
  type Passage,
  Passages,
  type PreparedTunable,
  passOn,
  SEED,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

const TABLE = settingTable({
  read: delaySetting('Delay of reads'),
  write: delaySetting('Delay of writes'),
  flush: delaySetting('Delay of flushes'),
  zeroes: delaySetting('Delay of write zeroes'),
  deallocate: delaySetting('Delay of deallocations'),
  compare: delaySetting('Delay of compare-and-write'),
  other: delaySetting('Delay of everything else'),
  where: fields.choice(
    ['before', 'after'],
    'before',
    'Whether an operation waits before it reaches what is below, or is done there and its end waits',
  ),
  hold: opsSetting('none', 'Operations that are held until they are released'),
  count: fields.orNone(fields.wholeNumber(1, 0x7fffffff, 1, 'Holds this many operations, then no more')),
  seed: SEED,
});

/** What `delayFilter` takes; see `nvbraid filter --help` or docs/faults.md. */
export type DelayOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Makes operations take longer, and holds them until they are released. @throws NvbraidError EINVAL */
export function delayFilter(lower: DeviceSpec, options: DelayOptions = {}): TunableSpec {
  return tunableSpec(DELAY, lower, options);
}

/** Words of the counters: what may still be held (negative: no end), and how often has been released. */
const LEFT = 0;
const RELEASES = 1;
const HELD = 2;

export const DELAY: TunableKind = {
  kind: 'delay',
  summary: 'Makes operations take longer, or holds them until they are released',
  keepsNothing: true,
  table: TABLE,
  beforeChange(prepared, settings, given) {
    if (!given.has('count') && !given.has('hold')) return;
    Atomics.store(SharedSettings.counters(prepared.shared), LEFT, (settings.count as number | null) ?? -1);
  },
  actions: {
    release: (prepared) => void Atomics.add(SharedSettings.counters(prepared.shared), RELEASES, 1),
  },
  report: (prepared) => ({ held: Atomics.load(SharedSettings.counters(prepared.shared), HELD) }),
  open: (prepared, lower, options) => new DelayFilter(prepared, lower, options),
};

type Waiting = { readonly io: Io; readonly passage: null } | { readonly io: null; readonly passage: Passage };

class DelayFilter extends TunableFilter<typeof TABLE> {
  readonly #line: HoldLine<Waiting>;
  readonly #passages = new Passages((passage) => this.#lowerDone(passage));
  #models: (DelayModel | null)[] = [];
  #held = 0;
  #after = false;
  #idle = true;
  #closed = false;

  constructor(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower, options);
    this.#line = new HoldLine(
      options,
      (waiting) => this.#go(waiting),
      () => this.#letGo(),
    );
  }

  protected override changed(): void {
    const { settings } = this;
    this.#models = OP_KINDS.map((kind) => delayModel(settings[kind]) ?? null);
    this.#held = opBits(settings.hold);
    this.#after = settings.where === 'after';
    this.#idle = this.#held === 0 && this.#models.every((model) => model === null);
  }

  submit(io: Io): boolean {
    this.look();
    if (this.#idle || this.#closed) return this.lower.submit(io);
    const kind = kindOf(io.op);
    const hold = (this.#held & (1 << kind)) !== 0 && takeOne(this.counters, LEFT);
    const ms = hold ? Number.POSITIVE_INFINITY : (this.#models[kind]?.(this.rng) ?? 0);
    if (ms === 0) return this.lower.submit(io);
    if (this.#after) return this.#passages.submit(io, this.lower, kind, ms);
    this.#wait({ io, passage: null }, ms, kind);
    return false;
  }

  /** Everything that waits goes on now. */
  override async close(): Promise<void> {
    this.#closed = true;
    this.#line.release(() => true);
    await super.close();
  }

  #wait(waiting: Waiting, ms: number, kind: number): void {
    Atomics.add(this.counters, HELD, 1);
    this.#line.add(waiting, ms, this.#markOf(kind));
  }

  /** The kind, and how often had been released: what a release lets go is what waited before it. */
  #markOf(kind: number): number {
    return (Atomics.load(this.counters, RELEASES) << 4) | kind;
  }

  /** A release lets everything go; switching the hold off lets go what it held. */
  #letGo(): void {
    this.look();
    const releases = Atomics.load(this.counters, RELEASES);
    this.#line.release((untilMs, mark) => {
      if (((mark ^ (releases << 4)) & ~15) !== 0) return true;
      return untilMs === Number.POSITIVE_INFINITY && (this.#held & (1 << (mark & 15))) === 0;
    });
  }

  #go(waiting: Waiting): void {
    Atomics.sub(this.counters, HELD, 1);
    if (waiting.io === null) this.#passages.finish(waiting.passage);
    else passOn(waiting.io, this.lower);
  }

  /** What was asked for stands in `startedMs`. */
  #lowerDone(passage: Passage): boolean {
    if (this.#closed) return true;
    this.#wait({ io: null, passage }, passage.startedMs, passage.mark);
    return false;
  }
}
