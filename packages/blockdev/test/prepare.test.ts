import { equal, match, notEqual, ok, rejects, throws } from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ErrorCode, NvbraidError } from '@nvbraid/base';
import { libc } from '../src/file/native.ts';
import {
  type DeviceSpec,
  fileDevice,
  IoOp,
  IoResult,
  memoryDevice,
  nullDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  runIo,
  volatileCache,
} from '../src/index.ts';
import { attachLoop, freshPath, loopUnavailable, openSpec } from './support/backends.ts';

const native = { skip: libc() === null ? 'no system calls by koffi here' : false };
const loops = { skip: loopUnavailable ?? false };

/** Expects an operational error whose sentence names the path and says `text`. */
async function refused(spec: DeviceSpec, code: ErrorCode, text: RegExp): Promise<void> {
  await rejects(prepareDevice(spec), (error) => {
    ok(error instanceof NvbraidError, String(error));
    equal(error.code, code, error.message);
    match(error.message, text);
    if ('path' in spec) ok(error.message.includes(String(spec.path)), `${error.message} does not name the file`);
    return true;
  });
}

function fileOf(bytes: number): string {
  const path = freshPath();
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

describe('a file', () => {
  it('is made sparse, and kept when it exists', async () => {
    const path = freshPath();
    const spec = fileDevice({ path, size: 1 << 30, create: true });
    const { device, close } = await openSpec(spec);
    equal(device.blockCount, 2 ** 18);
    equal(
      await runIo(device, IoOp.Write, { memory: new Uint8Array(4096).fill(4), offset: 2 ** 30 - 4096 }),
      IoResult.Ok,
    );
    await close();
    ok(statSync(path).blocks * 512 < 1 << 20, 'it takes space');
    const again = await openSpec(spec);
    const memory = new Uint8Array(4096);
    equal(await runIo(again.device, IoOp.Read, { memory, offset: 2 ** 30 - 4096 }), IoResult.Ok);
    equal(memory[0], 4);
    await again.close();
  });

  it('gets its size when it is empty', async () => {
    const path = fileOf(0);
    const { device, close } = await openSpec(fileDevice({ path, size: 1 << 20, create: true }));
    equal(device.blockCount, 256);
    await close();
  });

  it('gives its space back', native, async () => {
    const path = freshPath();
    const { device, close } = await openSpec(fileDevice({ path, size: 4 << 20, create: true }));
    const all = { length: 4 << 20 };
    equal(await runIo(device, IoOp.Write, { memory: new Uint8Array(4 << 20).fill(1), fua: true }), IoResult.Ok);
    const full = statSync(path).blocks;
    if (device.thin) {
      equal(await runIo(device, IoOp.Deallocate, { ...all, length: 2 << 20 }), IoResult.Ok);
      const half = statSync(path).blocks;
      ok(half < full * 0.6, `${half} of ${full} blocks are left`);
      equal(await runIo(device, IoOp.WriteZeroes, { ...all, deallocate: true }), IoResult.Ok);
      ok(statSync(path).blocks < half);
    }
    equal(await runIo(device, IoOp.WriteZeroes, all), IoResult.Ok);
    ok(statSync(path).blocks >= full * 0.9, 'WriteZeroes without Deallocate keeps the space');
    equal(statSync(path).size, 4 << 20);
    await close();
  });

  it('that becomes shorter gives errors where it ends and nowhere else', async () => {
    const path = fileOf(1 << 20);
    for (const threads of [1, 2]) {
      truncateSync(path, 1 << 20);
      const { device, close } = await openSpec(fileDevice({ path }), threads);
      truncateSync(path, 4096 + 100);
      const memory = new Uint8Array(4096);
      equal(await runIo(device, IoOp.Read, { memory }), IoResult.Ok);
      equal(await runIo(device, IoOp.Read, { memory, offset: 4096 }), IoResult.MediaError);
      equal(await runIo(device, IoOp.Read, { memory, offset: 65536 }), IoResult.MediaError);
      equal(await runIo(device, IoOp.Read, { memory: new Uint8Array(65536) }), IoResult.MediaError);
      await close();
    }
  });

  it('can be served read-only', async () => {
    const path = fileOf(8192);
    chmodSync(path, 0o400);
    const { device, close } = await openSpec(fileDevice({ path, readOnly: true }));
    equal(device.readOnly, true);
    equal(device.volatileWriteCache, false);
    equal(await runIo(device, IoOp.Write, { memory: new Uint8Array(4096) }), IoResult.ReadOnly);
    equal(await runIo(device, IoOp.Read, { memory: new Uint8Array(4096) }), IoResult.Ok);
    equal(await runIo(device, IoOp.Flush), IoResult.Ok);
    await close();
  });

  it('is refused with a sentence that says why', async () => {
    const missing = freshPath();
    await refused(fileDevice({ path: missing }), 'ENOENT', /does not exist$/);
    await refused(fileDevice({ path: missing, create: true }), 'ENOENT', /give a size/);
    await refused(fileDevice({ path: `${missing}/x`, create: true, size: 4096 }), 'ENOENT', /directory does not exist/);
    equal(existsSync(missing), false);
    await refused(fileDevice({ path: missing, create: true, size: 2 ** 53 - 4096 }), 'EIO', /cannot open/);
    equal(existsSync(missing), false, 'a file that could not be made whole stayed behind');
    mkdirSync(missing);
    await refused(fileDevice({ path: missing }), 'EINVAL', /is a directory/);
    await refused(fileDevice({ path: '/dev/null' }), 'EINVAL', /neither a regular file nor a block device/);
    await refused(fileDevice({ path: fileOf(0) }), 'EINVAL', /too small/);
    await refused(fileDevice({ path: fileOf(1000) }), 'EINVAL', /too small/);
    await refused(
      fileDevice({ path: fileOf(5000) }),
      'EINVAL',
      /not a multiple of the block size 4096.*truncate -s 8192/,
    );
    await refused(fileDevice({ path: fileOf(4608) }), 'EINVAL', /use a block size that divides it/);
    await refused(fileDevice({ path: fileOf(8192), size: 4096 }), 'EINVAL', /has 8192 bytes, not 4096/);
    await refused(fileDevice({ path: fileOf(8192), size: 16384, create: true }), 'EINVAL', /has 8192 bytes, not 16384/);
    const loop = freshPath();
    symlinkSync(loop, loop);
    await refused(fileDevice({ path: loop }), 'EIO', /cannot open/);
  });

  it('without permission is refused', async () => {
    const path = fileOf(8192);
    chmodSync(path, 0);
    // Root may do everything, so somebody else has to try.
    const root = process.getuid?.() === 0;
    if (root) spawnSync('chmod', ['755', path.slice(0, path.lastIndexOf('/'))]);
    const script = fileURLToPath(new URL('./support/prepare-as.ts', import.meta.url));
    const run = spawnSync(process.execPath, [script, path, root ? '65534' : ''], { encoding: 'utf8' });
    match(run.stdout, new RegExp(`^EACCES no permission to read and write ${path}\n$`), run.stderr);
  });

  it('that another program has locked is refused, and served all the same when asked for', native, async () => {
    const path = fileOf(8192);
    const script = fileURLToPath(new URL('./support/prepare-as.ts', import.meta.url));
    const other = spawn(process.execPath, [script, path, '', 'stay'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await once(other.stdout!, 'data');
    try {
      equal(String(line), 'prepared\n');
      await refused(fileDevice({ path }), 'EBUSY', /is locked by another program/);
      await refused(fileDevice({ path, readOnly: true }), 'EBUSY', /is locked by another program/);
      await releaseDevice(await prepareDevice(fileDevice({ path, shared: true })));
    } finally {
      other.kill('SIGKILL');
      await once(other, 'exit');
    }
    const readers = [fileDevice({ path, readOnly: true }), fileDevice({ path, readOnly: true })];
    for (const prepared of await Promise.all(readers.map(prepareDevice))) await releaseDevice(prepared);
  });

  it('is locked against a second device of the same process too', native, async () => {
    const path = fileOf(8192);
    const prepared = await prepareDevice(fileDevice({ path }));
    await refused(fileDevice({ path }), 'EBUSY', /is locked/);
    await releaseDevice(prepared);
    await releaseDevice(await prepareDevice(fileDevice({ path })));
  });
});

describe('a block device', () => {
  it('has the size that the system says, read with or without koffi', loops, async () => {
    const { path, detach } = attachLoop(3 << 20);
    try {
      for (const viaKoffi of [true, false]) {
        const { device, close } = await openSpec(fileDevice({ path, native: viaKoffi }));
        equal(device.blockCount, 768);
        await close();
      }
    } finally {
      detach();
    }
    const odd = attachLoop((1 << 20) + 512);
    try {
      await refused(fileDevice({ path: odd.path }), 'EINVAL', /not a multiple.*choose a smaller block size/);
      await (await openSpec(fileDevice({ path: odd.path, blockSize: 512 }))).close();
    } finally {
      odd.detach();
    }
  });

  it('in use is refused, and served all the same when asked for', loops, async () => {
    const { path, detach } = attachLoop(1 << 20);
    try {
      const prepared = await prepareDevice(fileDevice({ path }));
      await refused(fileDevice({ path }), 'EBUSY', /is in use/);
      await releaseDevice(await prepareDevice(fileDevice({ path, shared: true })));
      await releaseDevice(prepared);
    } finally {
      detach();
    }
  });

  it('that is read-only is refused for writing', loops, async () => {
    const { path, detach } = attachLoop(1 << 20, '--read-only');
    try {
      await refused(fileDevice({ path }), 'EACCES', /read/);
      const { device, close } = await openSpec(fileDevice({ path, readOnly: true }));
      equal(await runIo(device, IoOp.Read, { memory: new Uint8Array(4096) }), IoResult.Ok);
      await close();
    } finally {
      detach();
    }
  });

  it('with larger blocks than ours is refused', loops, async (t) => {
    const { path, detach } = attachLoop(1 << 20, '--sector-size', '4096');
    try {
      const answer = spawnSync('blockdev', ['--getss', path], { encoding: 'utf8' }).stdout?.trim();
      if (answer !== '4096') return t.skip(`this system made blocks of ${answer}`);
      await refused(fileDevice({ path, blockSize: 512 }), 'EINVAL', /blocks of 4096 bytes/);
      const { close } = await openSpec(fileDevice({ path, blockSize: 4096 }));
      await close();
    } finally {
      detach();
    }
  });
});

describe('memory', () => {
  it('lends its bytes to a thread that is alone with it, and to nobody else', () => {
    const spec = memoryDevice({ size: 8192 });
    const alone = openDevice(spec, { threads: 1 });
    notEqual(alone.memory, null);
    equal(alone.memory!.length, 8192);
    equal(openDevice(spec, { threads: 2 }).memory, null);
    equal(openDevice(volatileCache(spec), { threads: 1 }).memory, null);
  });

  it('may be larger than 4 GiB', async (t) => {
    let spec: DeviceSpec;
    try {
      spec = memoryDevice({ size: 5 * 2 ** 30 });
    } catch (error) {
      return t.skip(String(error));
    }
    for (const threads of [1, 2]) {
      const device = openDevice(spec, { threads });
      const offset = 5 * 2 ** 30 - 8192;
      const memory = new Uint8Array(4096).fill(threads);
      equal(await runIo(device, IoOp.Write, { memory, offset }), IoResult.Ok);
      equal(await runIo(device, IoOp.Read, { memory: memory.fill(0), offset }), IoResult.Ok);
      equal(memory[4095], threads);
      equal(await runIo(device, IoOp.Read, { memory, offset: offset % 2 ** 32 }), IoResult.Ok);
      equal(memory[4095], 0, 'the offset is cut to 32 bits');
      equal(await runIo(device, IoOp.Deallocate, { length: 4096, offset }), IoResult.Ok);
      equal(await runIo(device, IoOp.Read, { memory: memory.fill(9), offset }), IoResult.Ok);
      equal(memory[4095], 0);
    }
  });

  it('that the machine cannot give is refused', () => {
    throws(() => memoryDevice({ size: 2 ** 52 }), { code: 'EINVAL', message: /cannot give 4503599627370496 bytes/ });
  });
});

describe('specs', () => {
  it('with impossible geometry are refused', () => {
    for (const make of [memoryDevice, nullDevice, (o: { size: number }) => fileDevice({ path: 'x', ...o })]) {
      throws(() => make({ size: 0 }), { code: 'EINVAL' });
      throws(() => make({ size: -4096 }), { code: 'EINVAL' });
      throws(() => make({ size: 4096.5 }), { code: 'EINVAL' });
      throws(() => make({ size: 5000 }), { code: 'EINVAL', message: /use (4096|a block size)/ });
      throws(() => make({ size: 2 ** 60 }), { code: 'EINVAL' });
    }
    for (const blockSize of [0, -512, 256, 513, 1 << 17, Number.NaN, 512.5]) {
      throws(() => memoryDevice({ size: 1 << 20, blockSize }), { code: 'EINVAL', message: /block size/ });
      throws(() => fileDevice({ path: 'x', blockSize }), { code: 'EINVAL', message: /block size/ });
    }
    throws(() => volatileCache(nullDevice({ size: 4096 }), { maxBlocks: 0 }), { code: 'EINVAL' });
  });

  it('are told apart', async () => {
    throws(() => openDevice({ kind: 'floppy' }, { threads: 1 }), { code: 'EINVAL', message: /"floppy"/ });
    await rejects(prepareDevice({ kind: 'floppy' }), { code: 'EINVAL' });
    throws(() => openDevice(fileDevice({ path: 'x' }), { threads: 1 }), { code: 'EINVAL', message: /prepared/ });
    throws(() => openDevice(volatileCache(fileDevice({ path: 'x' })), { threads: 1 }), { code: 'EINVAL' });
    throws(() => openDevice(volatileCache(memoryDevice({ size: 4096 })), { threads: 2 }), { code: 'ENOTSUP' });
  });

  it('can be posted to other threads when prepared', async () => {
    for (const spec of [memoryDevice({ size: 4096 }), nullDevice({ size: 4096 })]) {
      const copy = structuredClone(await prepareDevice(spec));
      const device = openDevice(copy, { threads: 1 });
      equal(await runIo(device, IoOp.Read, { memory: new Uint8Array(4096) }), IoResult.Ok);
    }
  });
});

describe('null', () => {
  it('reads zeroes and drops writes', async () => {
    const device = openDevice(nullDevice({ size: 8192 }), { threads: 2 });
    const memory = new Uint8Array(4096).fill(3);
    for (const op of [IoOp.Write, IoOp.Flush, IoOp.WriteZeroes, IoOp.Deallocate]) {
      equal(await runIo(device, op, { memory }), IoResult.Ok);
    }
    equal(memory[0], 3);
    equal(await runIo(device, IoOp.Read, { memory }), IoResult.Ok);
    ok(memory.every((byte) => byte === 0));
    await device.close();
  });
});
