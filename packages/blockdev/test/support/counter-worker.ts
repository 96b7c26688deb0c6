import { parentPort, workerData } from 'node:worker_threads';
import { Rng } from '@nvbraid/base';
import { openDevice, type PreparedDevice } from '../../src/index.ts';
import { type CounterResult, count } from './counter.ts';

/* One of two threads that raise the same counter. */

export interface CounterRace {
  prepared: PreparedDevice;
  seed: number;
  increments: number;
  gate: SharedArrayBuffer;
}

const { prepared, seed, increments, gate } = workerData as CounterRace;
const device = openDevice(prepared, { threads: 2 });
const ready = new Int32Array(gate);
Atomics.add(ready, 0, 1);
while (Atomics.load(ready, 0) < 2) Atomics.wait(ready, 0, 1, 1);
const result: CounterResult = await count(device, new Rng(seed), increments);
await device.close();
parentPort!.postMessage(result);
