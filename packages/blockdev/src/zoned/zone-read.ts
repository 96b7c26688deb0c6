import { type BlockDevice, type Io, IoResult } from '../block-device.ts';
import { LowerIo } from '../filters/filter.ts';
import { ZoneCondition } from './zone-states.ts';
import type { ZoneTable } from './zone-table.ts';

/**
 * A read that is not just written blocks of one zone: what lies behind write pointers reads as zeroes. Where that is, is
 * decided before the device below is asked: a block that is written meanwhile may read as zeroes still, but what the
 * device has in a block that nobody has written is never seen.
 */
export class ZoneRead {
  #upper: Io | null = null;
  /** Pairs of offset and length, from the start of the read on. */
  readonly #zeroes: number[] = [];
  readonly #io: LowerIo;
  readonly #ended: (read: ZoneRead) => void;

  constructor(ended: (read: ZoneRead) => void) {
    this.#ended = ended;
    this.#io = new LowerIo((io) => {
      const upper = this.#upper!;
      this.#over(upper, io.result);
      upper.done(upper);
    });
  }

  start(io: Io, lower: BlockDevice, zones: ZoneTable, blockSize: number): boolean {
    const zoneBytes = zones.geometry.zoneBlocks * blockSize;
    const end = io.offset + io.length;
    let zeroes = 0;
    for (let at = io.offset; at < end; ) {
      const zone = Math.floor(at / zoneBytes);
      if (zones.condition(zone) === ZoneCondition.Offline) {
        this.#over(io, IoResult.ZoneOffline);
        return true;
      }
      const zoneEnd = Math.min(end, (zone + 1) * zoneBytes);
      const from = Math.max(at, zone * zoneBytes + zones.written(zone) * blockSize);
      if (from < zoneEnd) {
        this.#zeroes.push(from - io.offset, zoneEnd - from);
        zeroes += zoneEnd - from;
      }
      at = zoneEnd;
    }
    if (zeroes === io.length) {
      this.#over(io, IoResult.Ok);
      return true;
    }
    this.#upper = io;
    this.#io.copy(io);
    if (!lower.submit(this.#io)) return false;
    this.#over(io, this.#io.result);
    return true;
  }

  #over(io: Io, result: IoResult): void {
    io.result = result;
    if (result === IoResult.Ok) {
      for (let i = 0; i < this.#zeroes.length; i += 2) {
        const from = io.memoryOffset + this.#zeroes[i]!;
        io.memory.bytes.fill(0, from, from + this.#zeroes[i + 1]!);
      }
    }
    this.#zeroes.length = 0;
    this.#upper = null;
    this.#io.flush();
    this.#ended(this);
  }
}
