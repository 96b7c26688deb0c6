import { constants, openSync, write } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

/* Begins a write that blocks in the thread pool, as one to a slow disk does, and then fails as a reactor may. */

const fd = openSync(workerData as string, constants.O_RDWR);
write(fd, Buffer.alloc(150_000), () => {});
parentPort!.postMessage('writing');
setTimeout(() => {
  throw new Error('a reactor fails');
}, 50);
