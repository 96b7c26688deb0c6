import { parentPort, workerData } from 'node:worker_threads';
import { UncorrectableMarks } from '../../src/index.ts';

/* Changes marks as fast as it can, so that block 100 is always in one of them and block 1000 never. */

const marks = new UncorrectableMarks(workerData as SharedArrayBuffer, 512);
const mark = (first: number, count: number): Promise<unknown> =>
  new Promise((resolve) => marks.mark(first * 512, count * 512, resolve));
const clear = (first: number, count: number): Promise<unknown> =>
  new Promise((resolve) => marks.clear(first * 512, count * 512, resolve));

await mark(100, 1);
for (let n = 0; n < 3000; n++) {
  await mark(n % 100, 1 + (n % 7));
  if (n % 50 === 0) await clear(0, 100);
  await mark(90, 20);
  await clear(101, 20);
}
parentPort!.postMessage('over');
