import { equal, match, ok } from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fileDevice, IoOp, IoResult, openDevice, prepareDevice, releaseDevice, runIo } from '../src/index.ts';
import { freshPath, loopUnavailable } from './support/backends.ts';
import { blockTag } from './support/blocks.ts';

const writer = fileURLToPath(new URL('./support/durable-writer.ts', import.meta.url));
const BLOCK = 4096;

function fileOf(blocks: number): string {
  const path = freshPath();
  writeFileSync(path, '');
  truncateSync(path, blocks * BLOCK);
  return path;
}

function noStrace(): string | false {
  const trial = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'], { encoding: 'utf8' });
  if (trial.status === 0) return false;
  return `strace: ${trial.error?.message ?? trial.stderr.trim()}`;
}

describe('kill -9', () => {
  it('loses nothing that was acknowledged and flushed', async () => {
    const blocks = 1000;
    for (const lines of [1, 10, 40]) {
      const path = fileOf(blocks);
      const child = spawn(process.execPath, [writer, path, 'forever'], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.setEncoding('latin1').on('data', (text: string) => {
        output += text;
        if (output.split('\n').length > lines) child.kill('SIGKILL');
      });
      const [, signal] = await once(child, 'close');
      equal(signal, 'SIGKILL');
      const last = Number(output.trimEnd().split('\n').at(-1));
      ok(last >= lines);
      const bytes = readFileSync(path);
      for (let n = Math.max(1, last - blocks + 1); n <= last; n++) {
        const tag = blockTag(bytes, (n % blocks) * BLOCK, BLOCK);
        ok(tag >= n && tag % blocks === n % blocks, `block ${n % blocks} is ${tag}, flushed was ${n}`);
      }
    }
  });
});

describe('strace', () => {
  it('shows an fdatasync between each write and its acknowledgement', { skip: noStrace() }, () => {
    const path = fileOf(256);
    const trace = freshPath();
    const calls = 'trace=pwrite64,fdatasync,write';
    const run = spawnSync('strace', ['-f', '-e', calls, '-o', trace, process.execPath, writer, path, 'traced']);
    equal(run.status, 0, String(run.stderr));
    const acknowledged = checkTrace(readFileSync(trace, 'latin1'));
    equal(acknowledged, 16, 'not every acknowledgement was seen');
  });
});

/**
 * Follows a trace line by line, with the number of the line as the time.
 * @returns the number of acknowledgements, each after an fdatasync that began when all writes before it had ended
 */
function checkTrace(text: string): number {
  let acknowledged = 0;
  let lastWriteEnd = -1;
  /** The latest beginning of an fdatasync that has ended. */
  let syncedUpTo = -1;
  const syncBegin = new Map<string, number>();
  for (const [time, line] of text.split('\n').entries()) {
    const parsed = /^(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()/.exec(line);
    if (parsed === null) continue;
    const thread = parsed[1]!;
    const call = parsed[2] ?? parsed[3];
    const ends = !line.includes('<unfinished');
    if (call === 'fdatasync') {
      if (parsed[3] !== undefined) syncBegin.set(thread, time);
      if (!ends) continue;
      match(line, /= 0$/);
      syncedUpTo = Math.max(syncedUpTo, syncBegin.get(thread)!);
    } else if (call === 'pwrite64') {
      if (ends) lastWriteEnd = time;
    } else if (line.includes('"done: ')) {
      ok(lastWriteEnd >= 0 && syncedUpTo > lastWriteEnd, `no fdatasync before: ${line}`);
      acknowledged++;
    }
  }
  return acknowledged;
}

function noTmpfs(): string | false {
  if (loopUnavailable !== null) return loopUnavailable;
  const directory = freshPath();
  mkdirSync(directory);
  const trial = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory], { encoding: 'utf8' });
  if (trial.status !== 0) return `mount: ${trial.error?.message ?? trial.stderr.trim()}`;
  spawnSync('umount', [directory]);
  return false;
}

describe('a disk that cannot take the data any more', () => {
  it('fails the flush in every thread, and all that follow', { skip: noTmpfs() }, async () => {
    // A loop device on a file system that is too small: the page cache takes the write, the write-back fails.
    const directory = freshPath();
    mkdirSync(directory);
    spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory]);
    const backing = `${directory}/backing`;
    writeFileSync(backing, '');
    truncateSync(backing, 1 << 20);
    spawnSync('dd', ['if=/dev/zero', `of=${directory}/filler`, 'bs=4k']);
    const loop = spawnSync('losetup', ['--find', '--show', backing], { encoding: 'utf8' }).stdout.trim();
    const prepared = await prepareDevice(fileDevice({ path: loop }));
    const log: string[] = [];
    const options = { threads: 2, log: (message: string) => void log.push(message) };
    const devices = [openDevice(prepared, options), openDevice(prepared, options)];
    try {
      const memory = new Uint8Array(256 * 1024).fill(1);
      equal(await runIo(devices[0]!, IoOp.Write, { memory }), IoResult.Ok);
      const flushes = await Promise.all(devices.map((device) => runIo(device, IoOp.Flush)));
      for (const result of flushes) equal(result, IoResult.MediaError);
      for (const device of devices) {
        equal(await runIo(device, IoOp.Flush), IoResult.MediaError);
        equal(await runIo(device, IoOp.Write, { memory, fua: true }), IoResult.MediaError);
      }
      equal(log.length, 1);
      match(log[0]!, /fdatasync failed/);
    } finally {
      for (const device of devices) await device.close();
      await releaseDevice(prepared);
      spawnSync('losetup', ['-d', loop]);
      // The loop device lets go of its file a moment later.
      spawnSync('umount', ['--lazy', directory]);
    }
  });
});
