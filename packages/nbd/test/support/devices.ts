import { type BlockDevice, type Io, IoOp, IoResult, memoryDevice, openDevice } from '@nvbraid/blockdev';
import { type NbdExport, NbdExports } from '../../src/index.ts';

export const BLOCK = 512;
export const DEVICE_BYTES = 1 << 20;

export function memory(): BlockDevice {
  return openDevice(memoryDevice({ size: DEVICE_BYTES, blockSize: BLOCK }), { threads: 1 });
}

/** A device that says what a test wants it to say, and holds operations until the test lets them end. */
export class ScriptedDevice implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount = DEVICE_BYTES / BLOCK;
  readOnly = false;
  volatileWriteCache = true;
  thin = true;
  readonly memory = null;
  /** Operations in the order they came. */
  readonly log: string[] = [];
  readonly held: Io[] = [];
  hold = false;
  result: IoResult = IoResult.Ok;
  readonly #lower = memory();

  submit(io: Io): boolean {
    const name = Object.entries(IoOp).find(([, op]) => op === io.op)![0];
    this.log.push(`${name} ${io.offset}+${io.length}${io.fua ? ' fua' : ''}${io.deallocate ? ' deallocate' : ''}`);
    if (this.hold) {
      this.held.push(io);
      return false;
    }
    return this.#run(io);
  }

  /** Ends what is held, the last one first. */
  release(): void {
    for (let io = this.held.pop(); io !== undefined; io = this.held.pop()) {
      this.#run(io);
      io.done(io);
    }
  }

  #run(io: Io): boolean {
    if (this.result !== IoResult.Ok) io.result = this.result;
    else this.#lower.submit(io);
    return true;
  }

  async close(): Promise<void> {}
}

export function exportsOf(...list: NbdExport[]): NbdExports {
  const exports = new NbdExports();
  for (const one of list) exports.add(one);
  return exports;
}
