import { copyBytes, fields, Memory, settingTable } from '@nvbraid/base';
import { type DeviceSpec, type Io, IoOp, IoResult } from '../block-device.ts';
import { REMEMBERED_BLOCKS } from '../limits.ts';
import { LowerIo } from './filter.ts';
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

const TABLE = settingTable({
  enabled: ENABLED,
  'flip-read': fields.probability(0, 'Reads of which one bit comes back wrong'),
  'flip-write': fields.probability(0, 'Writes of which one bit is stored wrong'),
  stale: fields.probability(0, 'Reads that return an earlier write of a block, where one is remembered'),
  lost: fields.probability(0, 'Writes that are acknowledged and not done'),
  misdirect: fields.probability(0, 'Reads and writes that go to other blocks'),
  tear: fields.probability(0, 'Writes of which only a first part is done, as if the power had failed'),
  lba: fields.orNone(fields.numberRange(Number.MAX_SAFE_INTEGER, 'Only operations that touch these blocks')),
  seed: SEED,
});

export type CorruptOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Damages data without a word, for checks that must notice it. @throws NvbraidError EINVAL */
export function corruptFilter(lower: DeviceSpec, options: CorruptOptions = {}): TunableSpec {
  return tunableSpec(CORRUPT, lower, options);
}

const DAMAGES = ['flippedReads', 'flippedWrites', 'staleReads', 'lostWrites', 'misdirected', 'tornWrites'] as const;
const Damage = { FlipRead: 0, FlipWrite: 1, Stale: 2, Lost: 3, Misdirect: 4, Tear: 5 } as const;

export const CORRUPT: TunableKind = {
  kind: 'corrupt',
  summary: 'Damages data without a word: wrong bits, stale reads, lost, torn and misdirected writes',
  table: TABLE,
  report(prepared) {
    const counters = SharedSettings.counters(prepared.shared);
    return Object.fromEntries(DAMAGES.map((name, i) => [name, Atomics.load(counters, i)]));
  },
  open: (prepared, lower, options) => new CorruptFilter(prepared, lower, options),
};

/** An operation that goes down in another shape than it came. */
class Detour extends LowerIo {
  upper: Io | null = null;
  submitting = false;
  /** Bytes of the first block of a torn write that is read first; 0 when nothing is. */
  cut = 0;
}

interface Remembered {
  now: Uint8Array;
  before: Uint8Array | null;
}

class CorruptFilter extends TunableFilter<typeof TABLE> {
  readonly #reads = new Passages((_passage, io) => {
    if (io.result === IoResult.Ok) this.#flip(io.memory, io.memoryOffset, io.length);
    return true;
  });
  readonly #staleReads = new Passages((_passage, io) => {
    if (io.result === IoResult.Ok) this.#age(io);
    return true;
  });
  /** Blocks that this thread has written lately, oldest first. */
  readonly #remembered = new Map<number, Remembered>();
  #from = 0;
  #to = 0;

  protected override changed(): void {
    const { enabled, lba } = this.settings;
    [this.#from, this.#to] = enabled ? byteRange(lba, this.blockSize) : [0, 0];
  }

  submit(io: Io): boolean {
    this.look();
    if (io.offset >= this.#to || io.offset + io.length <= this.#from) return this.lower.submit(io);
    if (io.op === IoOp.Read) return this.#read(io);
    if (io.op === IoOp.Write) return this.#write(io);
    return this.lower.submit(io);
  }

  #hits(probability: number): boolean {
    return probability > 0 && this.rng.chance(probability);
  }

  #count(damage: number): void {
    Atomics.add(this.counters, damage, 1);
  }

  #read(io: Io): boolean {
    const { settings } = this;
    if (this.#hits(settings.misdirect)) return this.#misdirect(io);
    if (this.#hits(settings.stale)) return this.#staleReads.submit(io, this.lower);
    if (this.#hits(settings['flip-read'])) {
      this.#count(Damage.FlipRead);
      return this.#reads.submit(io, this.lower);
    }
    return this.lower.submit(io);
  }

  #write(io: Io): boolean {
    const { settings } = this;
    if (settings.stale > 0) this.#remember(io);
    if (this.#hits(settings.lost)) {
      this.#count(Damage.Lost);
      return answer(io, IoResult.Ok);
    }
    if (this.#hits(settings.misdirect)) return this.#misdirect(io);
    if (this.#hits(settings.tear)) return this.#tear(io);
    if (this.#hits(settings['flip-write'])) {
      this.#count(Damage.FlipWrite);
      const detour = this.#detour(io, io.length);
      copyBytes(io.memory, io.memoryOffset, detour.memory, 0, io.length);
      this.#flip(detour.memory, 0, io.length);
      return this.#send(detour);
    }
    return this.lower.submit(io);
  }

  #flip(memory: Memory, offset: number, length: number): void {
    const bit = this.rng.below(length * 8);
    memory.bytes[offset + (bit >>> 3)]! ^= 1 << (bit & 7);
  }

  #misdirect(io: Io): boolean {
    const places = this.blockCount - io.length / this.blockSize + 1;
    const detour = this.#detour(io, 0);
    detour.offset = this.rng.below(places) * this.blockSize;
    if (detour.offset !== io.offset) this.#count(Damage.Misdirect);
    return this.#send(detour);
  }

  /** Only bytes up to a cut are stored; in the block of the cut, what was there follows. */
  #tear(io: Io): boolean {
    this.#count(Damage.Tear);
    const cut = this.rng.below(io.length);
    const whole = Math.floor(cut / this.blockSize) * this.blockSize;
    const detour = this.#detour(io, whole + this.blockSize);
    detour.cut = cut;
    detour.op = IoOp.Read;
    detour.fua = false;
    detour.offset = io.offset + whole;
    detour.memoryOffset = whole;
    detour.length = this.blockSize;
    return this.#send(detour);
  }

  /** @param bytes memory of its own that it needs; 0 for that of the operation */
  #detour(io: Io, bytes: number): Detour {
    const detour = new Detour((ended) => this.#detourDone(ended as Detour)).copy(io);
    detour.upper = io;
    if (bytes > 0) {
      detour.memory = Memory.alloc(bytes);
      detour.memoryOffset = 0;
    }
    return detour;
  }

  #send(detour: Detour): boolean {
    detour.submitting = true;
    detour.sendTo(this.lower);
    detour.submitting = false;
    return detour.upper === null;
  }

  #detourDone(detour: Detour): void {
    const io = detour.upper!;
    if (detour.op === IoOp.Read && io.op === IoOp.Write && detour.result === IoResult.Ok) {
      copyBytes(io.memory, io.memoryOffset, detour.memory, 0, detour.cut);
      detour.op = IoOp.Write;
      detour.fua = io.fua;
      detour.offset = io.offset;
      detour.length = detour.memory.length;
      detour.memoryOffset = 0;
      detour.sendTo(this.lower);
      return;
    }
    io.result = detour.result;
    detour.upper = null;
    if (!detour.submitting) io.done(io);
  }

  #remember(io: Io): void {
    for (let at = 0; at < io.length; at += this.blockSize) {
      const block = (io.offset + at) / this.blockSize;
      const from = io.memoryOffset + at;
      const before = this.#remembered.get(block)?.now ?? null;
      this.#remembered.delete(block);
      this.#remembered.set(block, { now: io.memory.bytes.slice(from, from + this.blockSize), before });
    }
    while (this.#remembered.size > REMEMBERED_BLOCKS) {
      this.#remembered.delete(this.#remembered.keys().next().value!);
    }
  }

  #age(io: Io): void {
    let aged = false;
    for (let at = 0; at < io.length; at += this.blockSize) {
      const before = this.#remembered.get((io.offset + at) / this.blockSize)?.before;
      if (before === null || before === undefined) continue;
      io.memory.bytes.set(before, io.memoryOffset + at);
      aged = true;
    }
    if (aged) this.#count(Damage.Stale);
  }
}
