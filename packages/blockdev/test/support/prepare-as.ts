import { setTimeout as sleep } from 'node:timers/promises';
import type { NvbraidError } from '@nvbraid/base';
import { fileDevice, prepareDevice } from '../../src/index.ts';

/* Prepares a file device as another user, or in another process: `prepare-as PATH UID [stay]`. */

const [path, uid, stay] = process.argv.slice(2);
if (uid !== '') process.setuid!(Number(uid));
try {
  await prepareDevice(fileDevice({ path: path! }));
  console.log('prepared');
  if (stay === 'stay') await sleep(60_000);
} catch (error) {
  console.log((error as NvbraidError).code, (error as NvbraidError).message);
}
