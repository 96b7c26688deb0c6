import { parentPort, workerData } from 'node:worker_threads';
import { Rng } from '@nvbraid/base';
import { IoOp, IoRequest, IoResult, openDevice, type PreparedDevice } from '../../src/index.ts';
import { blockTag, fillBlocks } from './blocks.ts';

/*
 * One of two threads that race for the same few blocks. Keeps several operations under way, so that those on the
 * thread pool race as well.
 */

export interface Race {
  prepared: PreparedDevice;
  seed: number;
  operations: number;
  /** Longest range, in blocks. */
  longest: number;
  /** A word on which the threads wait for each other, so that the race has two runners. */
  gate: SharedArrayBuffer;
}

export interface RaceResult {
  torn: number;
  reads: number;
  failed: number;
}

const DEPTH = 4;
const { prepared, seed, operations, longest, gate } = workerData as Race;
const device = openDevice(prepared, { threads: 2 });
const rng = new Rng(seed);
const { blockSize, blockCount } = device;
const result: RaceResult = { torn: 0, reads: 0, failed: 0 };
let left = operations;
let tag = seed << 20;

function check(io: IoRequest): void {
  if (io.result !== IoResult.Ok) result.failed++;
  if (io.op !== IoOp.Read) return;
  result.reads++;
  for (let at = 0; at < io.length; at += blockSize) {
    if (blockTag(io.memory.bytes, at, blockSize) === -1) result.torn++;
  }
}

function run(io: IoRequest, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const next = (): void => {
      while (left-- > 0) {
        const count = rng.between(1, longest);
        const offset = rng.below(blockCount - count + 1) * blockSize;
        const op = rng.chance(0.5) ? IoOp.Read : rng.chance(0.95) ? IoOp.Write : IoOp.WriteZeroes;
        if (op === IoOp.Write) fillBlocks(bytes, ++tag);
        io.set(op, { memory: bytes, offset, length: count * blockSize });
        if (!device.submit(io)) return;
        check(io);
      }
      resolve();
    };
    io.onDone = () => {
      check(io);
      next();
    };
    next();
  });
}

const ready = new Int32Array(gate);
Atomics.add(ready, 0, 1);
while (Atomics.load(ready, 0) < 2) Atomics.wait(ready, 0, 1, 1);
await Promise.all(Array.from({ length: DEPTH }, () => run(new IoRequest(), new Uint8Array(longest * blockSize))));
await device.close();
parentPort!.postMessage(result);
