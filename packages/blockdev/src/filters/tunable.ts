import {
  changedSettings,
  fields,
  NvbraidError,
  type Plain,
  parseRange,
  Rng,
  readSettings,
  type SettingsOf,
  type SettingTable,
  type Timers,
} from '@nvbraid/base';
import {
  type BlockDevice,
  type DeviceSpec,
  type Io,
  IoResult,
  type OpenOptions,
  type PreparedDevice,
} from '../block-device.ts';
import { systemTimers } from '../timers.ts';
import { Filter, type FilterKind, type FilterSpec, LowerIo } from './filter.ts';
import { SharedSettings } from './shared-settings.ts';

type AnySettings = Readonly<Record<string, Plain>>;

/** A filter whose settings can be changed while it is in use. */
export interface TunableSpec extends FilterSpec {
  /** Tells it from others on the same device; the kind where nothing else was said. */
  readonly name: string;
  readonly settings: AnySettings;
}

export interface PreparedTunable extends TunableSpec, PreparedDevice {
  readonly lower: PreparedDevice;
  /** See SharedSettings. */
  readonly shared: SharedArrayBuffer;
  /** Memory of the kind's own that its threads share. */
  readonly area: SharedArrayBuffer;
}

/** Something that can be done to a filter besides changing settings, e.g. `release`. */
export type FilterAction = (prepared: PreparedTunable, open: OpenDevice) => unknown | Promise<unknown>;
/** See `openDevice`. */
export type OpenDevice = (prepared: PreparedDevice, options: OpenOptions) => BlockDevice;

/** Everything there is to know about a kind of tunable filter. */
export interface TunableKind {
  readonly kind: string;
  readonly summary: string;
  readonly table: SettingTable;
  /** Bytes of `PreparedTunable.area`. */
  areaBytes?(spec: TunableSpec, lower: PreparedDevice): number;
  /** See FilterKind. */
  readonly fixedSize?: boolean;
  /** See FilterKind. */
  readonly keepsNothing?: boolean;
  /** What it changes about the device that can be seen from outside. */
  changes?(settings: AnySettings): FilterKind['changes'];
  /** See FilterKind. */
  prepare?(prepared: PreparedTunable): Promise<object>;
  release?(prepared: PreparedTunable): Promise<void>;
  /** Refuses combinations of settings, or what the system does not give. @throws NvbraidError */
  check?(settings: AnySettings): void;
  /** In the main thread, before settings that were changed are in force; `given` are those that were. */
  beforeChange?(prepared: PreparedTunable, settings: AnySettings, given: ReadonlySet<string>): void;
  readonly actions?: Readonly<Record<string, FilterAction>>;
  /** What there is to see of it, as plain JSON. */
  report?(prepared: PreparedTunable): unknown;
  open(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions): BlockDevice;
}

/** Makes the spec of a filter over `lower`. @throws NvbraidError EINVAL that names the setting */
export function tunableSpec(kind: TunableKind, lower: DeviceSpec, input: object, name = kind.kind): TunableSpec {
  const settings = readSettings(kind.table, input, `filter ${kind.kind}`) as AnySettings;
  kind.check?.(settings);
  return { kind: kind.kind, lower, name, settings };
}

/** The row of devices.ts. */
export function tunableRow(kind: TunableKind): FilterKind {
  return {
    fixedSize: kind.fixedSize === true,
    keepsNothing: kind.keepsNothing === true,
    share(spec, lower) {
      const tunable = spec as TunableSpec;
      // Chosen once and kept, so that what happened can be made to happen again.
      const settings =
        'seed' in kind.table && tunable.settings.seed === null
          ? { ...tunable.settings, seed: newSeed() }
          : tunable.settings;
      const shared = SharedSettings.alloc();
      const area = new SharedArrayBuffer(kind.areaBytes?.(tunable, lower) ?? 0);
      const prepared = { ...tunable, settings, shared, area } as PreparedTunable;
      kind.beforeChange?.(prepared, settings, new Set(Object.keys(settings)));
      new SharedSettings<AnySettings>(shared).write(settings);
      return { ...kind.changes?.(settings), settings, shared, area };
    },
    ...(kind.prepare === undefined ? {} : { prepare: (spec) => kind.prepare!(spec as PreparedTunable) }),
    ...(kind.release === undefined ? {} : { release: (spec) => kind.release!(spec as PreparedTunable) }),
    open: (prepared, lower, options) => kind.open(prepared as PreparedTunable, lower, options),
  };
}

function newSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/**
 * The base of tunable filters. `submit` begins with `this.look()`, after which `this.settings` and what `changed` made
 * of them are those in force.
 */
export abstract class TunableFilter<F extends SettingTable> extends Filter {
  protected readonly timers: Timers;
  protected readonly thread: number;
  protected readonly options: OpenOptions;
  /** Made anew when the seed is set; each thread has a sequence of its own. */
  protected rng = new Rng(0);
  protected settings: SettingsOf<F>;
  /** Those of the kind, which all threads share; see SharedSettings. */
  protected readonly counters: Int32Array;
  readonly #shared: SharedSettings<SettingsOf<F>>;
  #seed = Number.NaN;

  constructor(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower);
    this.timers = options.timers ?? systemTimers;
    this.thread = options.thread ?? 0;
    this.options = options;
    this.#shared = new SharedSettings(prepared.shared);
    this.settings = prepared.settings as SettingsOf<F>;
    this.counters = SharedSettings.counters(prepared.shared);
  }

  /** One atomic load while nothing changes. */
  protected look(): void {
    if (this.#shared.changed) this.#read();
  }

  #read(): void {
    this.settings = this.#shared.read();
    const seed = (this.settings as AnySettings).seed;
    if (typeof seed === 'number' && seed !== this.#seed) {
      this.#seed = seed;
      this.rng = new Rng(seed + Math.imul(this.thread, 0x9e3779b1));
    }
    this.changed();
  }

  /** Makes of `this.settings` what `submit` needs. */
  protected changed(): void {}
}

/** An operation on its way through a filter that wants to know how it ends. One object serves one at a time. */
export class Passage extends LowerIo {
  upper: Io | null = null;
  /** False once `submit` has answered: the end must be told by `done`. */
  submitting = false;
  startedMs = 0;
  /** For the filter's use. */
  mark = 0;
}

/** Passages of one filter, used again. */
export class Passages {
  readonly #free: Passage[] = [];
  readonly #ended: (passage: Passage, io: Io) => boolean;

  /**
   * @param ended the lower device is done, and its result stands in `io`; answers false when the filter keeps the
   * operation and will call `finish` itself
   */
  constructor(ended: (passage: Passage, io: Io) => boolean) {
    this.#ended = ended;
  }

  /** @param mark and `startedMs` are for `ended` */
  submit(io: Io, lower: BlockDevice, mark = 0, startedMs = 0): boolean {
    const passage = this.#free.pop() ?? new Passage((done) => this.#lowerDone(done as Passage));
    passage.copy(io);
    passage.upper = io;
    passage.mark = mark;
    passage.startedMs = startedMs;
    passage.submitting = true;
    passage.sendTo(lower);
    passage.submitting = false;
    // Ended and given back in between: `upper` is null then, whoever has the object.
    return passage.upper === null;
  }

  #lowerDone(passage: Passage): void {
    const io = passage.upper!;
    io.result = passage.result;
    if (!this.#ended(passage, io)) return;
    this.finish(passage);
  }

  /** Ends an operation that `ended` has kept. */
  finish(passage: Passage): void {
    const io = passage.upper!;
    const later = !passage.submitting;
    passage.upper = null;
    this.#free.push(passage);
    if (later) io.done(io);
  }
}

/** What the main thread can do with a filter of a prepared device. */
export class FilterHandle {
  readonly #prepared: PreparedTunable;
  readonly #kind: TunableKind;
  readonly #shared: SharedSettings<AnySettings>;

  readonly #open: OpenDevice;

  constructor(prepared: PreparedTunable, kind: TunableKind, open: OpenDevice) {
    this.#prepared = prepared;
    this.#open = open;
    this.#kind = kind;
    this.#shared = new SharedSettings(prepared.shared);
  }

  get name(): string {
    return this.#prepared.name;
  }

  get kind(): string {
    return this.#kind.kind;
  }

  get settings(): AnySettings {
    return this.#shared.read();
  }

  get actions(): readonly string[] {
    return Object.keys(this.#kind.actions ?? {});
  }

  /** What was asked for when it was made, plus what was changed: makes the same filter again. */
  get config(): Readonly<Record<string, Plain>> {
    const named = this.name === this.kind ? {} : { name: this.name };
    return { kind: this.kind, ...named, ...changedSettings(this.#kind.table, this.settings) };
  }

  /** Changes settings; in force for every operation that any thread begins after this. @throws NvbraidError EINVAL */
  set(input: object): AnySettings {
    const before = this.settings;
    const settings = readSettings(this.#kind.table, input, `filter ${this.name}`, before) as Record<string, Plain>;
    if ('seed' in this.#kind.table && settings.seed === null) settings.seed = before.seed!;
    this.#kind.check?.(settings);
    this.#kind.beforeChange?.(this.#prepared, settings, new Set(Object.keys(input)));
    this.#shared.write(settings);
    return settings;
  }

  /** @throws NvbraidError EINVAL when the filter has no such action */
  act(action: string): unknown {
    const run = Object.hasOwn(this.#kind.actions ?? {}, action) ? this.#kind.actions![action] : undefined;
    if (run === undefined) {
      const known = this.actions.length === 0 ? 'it has none' : `it has ${this.actions.join(', ')}`;
      throw new NvbraidError('EINVAL', `filter ${this.name} has no action ${JSON.stringify(action)}; ${known}`);
    }
    return run(this.#prepared, this.#open);
  }

  report(): unknown {
    return this.#kind.report?.(this.#prepared) ?? null;
  }
}

/** Goes on with an operation that has waited, unless the association that sent it is over: then it fails. */
export function passOn(io: Io, lower: BlockDevice): void {
  if (io.revoked === true) io.result = IoResult.Failed;
  else if (!lower.submit(io)) return;
  io.done(io);
}

/** Bytes of a setting of blocks, the end not included; everything where none is given. */
export function byteRange(lba: string | null, blockSize: number): [from: number, to: number] {
  const range = lba === null ? null : parseRange(lba);
  return range === null ? [0, Number.POSITIVE_INFINITY] : [range.first * blockSize, (range.last + 1) * blockSize];
}

export function answer(io: Io, result: IoResult): true {
  io.result = result;
  return true;
}

/** The seed of what is random; null is a new one, which is then kept. */
export const SEED = fields.orNone(
  fields.wholeNumber(0, 2 ** 32 - 1, 0, 'Seed of what is random; chosen and kept when it is not given'),
);

export const ENABLED = fields.flag(true, 'False lets everything through');
