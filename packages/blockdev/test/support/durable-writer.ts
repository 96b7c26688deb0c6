import { writeSync } from 'node:fs';
import { fileDevice, IoOp, IoResult, openDevice, prepareDevice, runIo } from '../../src/index.ts';
import { fillBlocks } from './blocks.ts';

/*
 * Writes to a file and says on its standard output, with a system call of its own, what has been acknowledged:
 * `durable-writer PATH forever` is there to be killed, `durable-writer PATH traced` to be watched.
 */

const [path, mode] = process.argv.slice(2);
const device = openDevice(await prepareDevice(fileDevice({ path: path! })), { threads: 1 });
const { blockSize, blockCount } = device;

async function write(first: number, tag: number, blocks: number, fua: boolean): Promise<void> {
  const memory = new Uint8Array(blocks * blockSize);
  fillBlocks(memory, tag);
  const result = await runIo(device, IoOp.Write, { memory, offset: first * blockSize, fua });
  if (result !== IoResult.Ok) throw new Error(`write: ${result}`);
}

async function flush(): Promise<void> {
  const result = await runIo(device, IoOp.Flush);
  if (result !== IoResult.Ok) throw new Error(`flush: ${result}`);
}

if (mode === 'forever') {
  for (let n = 1; ; n++) {
    const all: Promise<void>[] = [];
    const from = n;
    for (; n < from + 20; n++) all.push(write(n % blockCount, n, 1, false));
    await Promise.all(all);
    if (n % 3 === 0) await write(n % blockCount, n, 1, true);
    else {
      await write(n % blockCount, n, 1, false);
      await flush();
    }
    writeSync(1, `${n}\n`);
  }
} else {
  const long = (512 * 1024) / blockSize;
  for (let n = 0; n < 4; n++) {
    await write(n, n + 1, 1, true);
    writeSync(1, 'done: short write with FUA\n');
    await write(0, n + 1, long, true);
    writeSync(1, 'done: long write with FUA\n');
    await write(n, n + 1, 1, false);
    await flush();
    writeSync(1, 'done: write and flush\n');
    // A flush that finds another one under way.
    const first = flush();
    await write(n, n + 1, 1, false);
    await Promise.all([first, flush()]);
    writeSync(1, 'done: flush behind a flush\n');
  }
  await device.close();
}
