import { deepEqual, equal, match, notEqual } from 'node:assert/strict';
import { close, open, readlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { FileCalls } from '../src/file/file-calls.ts';
import { FileDevice } from '../src/file/file-device.ts';
import type { PreparedFileDevice } from '../src/file/file-spec.ts';
import { nodeCalls } from '../src/file/node-calls.ts';
import { fileDevice, IoOp, IoResult, openDevice, prepareDevice, releaseDevice, runIo } from '../src/index.ts';
import { freshPath } from './support/backends.ts';
import { Op } from './support/op.ts';
import { BLOCK, BROKEN, preparedFile, scripted } from './support/scripted-calls.ts';

const linuxOnly = { skip: process.platform === 'linux' ? false : 'needs /proc and /dev/full' };
const block = () => new Uint8Array(BLOCK).fill(7);
const long = () => new Uint8Array(8 * BLOCK).fill(7);

describe('flush', () => {
  it('runs one fdatasync and waits for it', () => {
    const { device, calls } = scripted(preparedFile(16));
    const flush = new Op(device, IoOp.Flush);
    equal(flush.state, 'pending');
    calls.end('sync');
    equal(flush.state, 'Ok');
    deepEqual(calls.trace, ['sync']);
  });

  it('does not take a ride on an fdatasync that is under way already', () => {
    const { device, calls } = scripted(preparedFile(16));
    const first = new Op(device, IoOp.Flush);
    equal(new Op(device, IoOp.Write, { memory: block() }).state, 'Ok');
    const second = new Op(device, IoOp.Flush);
    const third = new Op(device, IoOp.Flush);
    equal(calls.pool.length, 1, 'one at a time');
    calls.end('sync');
    deepEqual([first.state, second.state, third.state], ['Ok', 'pending', 'pending']);
    equal(calls.pool.length, 1, 'those that waited share one');
    calls.end('sync');
    deepEqual([second.state, third.state], ['Ok', 'Ok']);
    equal(calls.pool.length, 0);
  });

  it('may be asked for from the completion of another one', () => {
    const { device, calls } = scripted(preparedFile(16));
    let again: Op | undefined;
    new Op(device, IoOp.Flush, {}, () => {
      again = new Op(device, IoOp.Flush);
    });
    calls.end('sync');
    equal(again?.state, 'pending');
    calls.end('sync');
    equal(again?.state, 'Ok');
  });

  it('is nothing on a read-only device', () => {
    const { device, calls } = scripted({ ...preparedFile(16), readOnly: true });
    equal(new Op(device, IoOp.Flush).state, 'Ok');
    deepEqual(calls.trace, []);
  });
});

describe('force unit access', () => {
  it('ends a short write after an fdatasync that began after it', () => {
    const { device, calls } = scripted(preparedFile(16));
    const flush = new Op(device, IoOp.Flush);
    const write = new Op(device, IoOp.Write, { memory: block(), fua: true });
    calls.end('sync');
    deepEqual([flush.state, write.state], ['Ok', 'pending']);
    calls.end('sync');
    equal(write.state, 'Ok');
    deepEqual(calls.trace, ['sync', 'pwrite 0+4096', 'sync']);
  });

  it('ends a long write after an fdatasync that began after it', () => {
    const { device, calls } = scripted(preparedFile(16));
    const write = new Op(device, IoOp.Write, { memory: long(), fua: true });
    deepEqual(calls.trace, ['write 0+32768']);
    calls.end('write');
    equal(write.state, 'pending');
    calls.end('sync');
    equal(write.state, 'Ok');
  });

  it('ends zeroing after an fdatasync that began after it', () => {
    const { device, calls } = scripted(preparedFile(16));
    const zero = new Op(device, IoOp.WriteZeroes, { length: BLOCK, fua: true });
    calls.end('zero');
    equal(zero.state, 'pending');
    calls.end('sync');
    equal(zero.state, 'Ok');
  });

  it('does not flush a write that failed', () => {
    const { device, calls } = scripted(preparedFile(16));
    calls.nextNow.push(BROKEN);
    equal(new Op(device, IoOp.Write, { memory: block(), fua: true }).state, 'MediaError');
    deepEqual(calls.trace, ['pwrite 0+4096']);
  });
});

describe('a failed fdatasync', () => {
  it('fails everything that must be durable from then on, in all threads, and is logged once', () => {
    const prepared = preparedFile(16);
    const log: string[] = [];
    const { device, calls } = scripted(prepared, { threads: 2, log: (message) => log.push(message) });
    const other = scripted(prepared, { threads: 2, log: (message) => log.push(message) });
    const write = new Op(device, IoOp.Write, { memory: block(), fua: true });
    const inLine = new Op(device, IoOp.Flush);
    const elsewhere = new Op(other.device, IoOp.Flush);
    calls.end('sync', BROKEN);
    equal(write.state, 'MediaError');
    calls.end('sync');
    equal(inLine.state, 'MediaError', 'a later fdatasync that succeeds proves nothing');
    other.calls.end('sync');
    equal(elsewhere.state, 'MediaError', 'nor does that of another thread');
    for (const view of [{ device, calls }, other]) {
      const before = view.calls.trace.length;
      equal(new Op(view.device, IoOp.Flush).state, 'MediaError');
      equal(new Op(view.device, IoOp.Write, { memory: block() }).state, 'MediaError');
      equal(new Op(view.device, IoOp.Write, { memory: block(), fua: true }).state, 'MediaError');
      equal(new Op(view.device, IoOp.Write, { memory: long() }).state, 'MediaError');
      equal(new Op(view.device, IoOp.WriteZeroes, { length: BLOCK }).state, 'MediaError');
      equal(new Op(view.device, IoOp.Deallocate, { length: BLOCK }).state, 'MediaError');
      equal(view.calls.trace.length, before, 'nothing was even tried');
      equal(new Op(view.device, IoOp.Read, { memory: block() }).state, 'Ok');
    }
    equal(log.length, 1);
    match(log[0]!, /^disk\.img: fdatasync failed/);
  });

  it('fails a write that was on the pool while it happened', () => {
    const { device, calls } = scripted(preparedFile(16));
    const write = new Op(device, IoOp.Write, { memory: long(), fua: true });
    const flush = new Op(device, IoOp.Flush);
    const [writing, syncing] = [calls.pool[0]!, calls.pool[1]!];
    syncing.end(BROKEN);
    equal(flush.state, 'MediaError');
    calls.pool.length = 0;
    writing.end();
    equal(write.state, 'MediaError');
    equal(calls.pool.length, 0, 'no fdatasync can help any more');
  });

  it('is noticed when the system itself says so', linuxOnly, async () => {
    const prepared = (await prepareDevice(
      fileDevice({ path: freshPath(), size: 1 << 20, create: true }),
    )) as PreparedFileDevice;
    // A device that cannot be synced: a real error from a real call.
    const calls: FileCalls = {
      ...nodeCalls,
      syncLater: (_fd, done) =>
        open('/dev/full', 'r', (_error, fd) => nodeCalls.syncLater(fd, (error) => close(fd, () => done(error)))),
    };
    const log: string[] = [];
    const device = new FileDevice(prepared, prepared.fd, { threads: 1, log: (m) => log.push(m) }, calls, () => {});
    equal(await runIo(device, IoOp.Flush), IoResult.MediaError);
    equal(await runIo(device, IoOp.Write, { memory: block() }), IoResult.MediaError);
    match(log.join(), /fdatasync failed \(EINVAL/);
    await device.close();
    await releaseDevice(prepared);
  });
});

describe('several threads', () => {
  it('each have an open file of their own, so that each is told about a failed write-back', linuxOnly, async () => {
    const path = freshPath();
    const prepared = (await prepareDevice(fileDevice({ path, size: 1 << 20, create: true }))) as PreparedFileDevice;
    const before = openDescriptors(path);
    const devices = [openDevice(prepared, { threads: 2 }), openDevice(prepared, { threads: 2 })];
    equal(openDescriptors(path), before + 2);
    for (const device of devices) await device.close();
    equal(openDescriptors(path), before);
    await releaseDevice(prepared);
    equal(openDescriptors(path), 0);
    notEqual(before, 0);
  });
});

function openDescriptors(path: string): number {
  let count = 0;
  for (let fd = 0; fd < 256; fd++) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === path) count++;
    } catch {
      // Not open.
    }
  }
  return count;
}
