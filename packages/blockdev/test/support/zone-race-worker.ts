import { parentPort, workerData } from 'node:worker_threads';
import { Rng } from '@nvbraid/base';
import { IoOp, IoRequest, IoResult, openDevice, type PreparedDevice } from '../../src/index.ts';
import { fillBlocks } from './blocks.ts';

/* One of two threads that append to the same zones until these are full, several appends under way at a time. */

export interface ZoneRace {
  prepared: PreparedDevice;
  seed: number;
  gate: SharedArrayBuffer;
  /** Longest append, in blocks. */
  longest: number;
}

/** Where each append of a thread went, as the device told. */
export interface Placed {
  offset: number;
  blocks: number;
  tag: number;
}

const DEPTH = 4;
const { prepared, seed, gate, longest } = workerData as ZoneRace;
const device = openDevice(prepared, { threads: 2 });
const { geometry } = device.zones!;
const zoneBytes = geometry.zoneBlocks * device.blockSize;
const rng = new Rng(seed);
const placed: Placed[] = [];
const refused: number[] = [];
let tag = seed << 20;
let zone = 0;

function append(io: IoRequest, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    let blocks = 0;
    let mine = 0;
    const over = (): void => {
      if (io.result === IoResult.Ok) placed.push({ offset: io.offset, blocks, tag: mine });
      else if (io.result === IoResult.ZoneFull) zone = Math.max(zone, Math.floor(io.offset / zoneBytes) + 1);
      else if (io.result !== IoResult.ZoneBoundary) refused.push(io.result);
    };
    const next = (): void => {
      while (zone < geometry.zoneCount) {
        blocks = rng.chance(0.7) ? 1 : rng.between(1, longest);
        mine = ++tag;
        fillBlocks(bytes, mine);
        io.set(IoOp.ZoneAppend, { memory: bytes, offset: zone * zoneBytes, length: blocks * device.blockSize });
        if (!device.submit(io)) return;
        over();
      }
      resolve();
    };
    io.onDone = () => {
      over();
      next();
    };
    next();
  });
}

const ready = new Int32Array(gate);
Atomics.add(ready, 0, 1);
while (Atomics.load(ready, 0) < 2) Atomics.wait(ready, 0, 1, 1);
await Promise.all(
  Array.from({ length: DEPTH }, () => append(new IoRequest(), new Uint8Array(longest * device.blockSize))),
);
await device.close();
parentPort!.postMessage({ placed, refused });
