import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DsmRange, DsmSqe, IoOpcode, SglId, Sqe } from '@nvbraid/wire';
import { drivenPlane, snapshot } from './support/driven-plane.ts';
import { HeldDevice } from './support/held-device.ts';
import { capsule, rw } from './support/raw-peer.ts';

/*
 * A queue that is gone gives nothing to the medium any more, and is reported gone only when nothing that it has given
 * can arrive there any more.
 */

/** Dataset Management that deallocates blocks 0, 10 and 20. */
function deallocate(cid: number): Uint8Array {
  const ranges = Buffer.concat([0, 10, 20].map((slba) => DsmRange.toBytes({ slba, nlb: 1 })));
  const sqe = { opc: IoOpcode.DatasetManagement, cid, psdt: 1, nsid: 1, nr: 2, ad: 1 };
  return capsule(DsmSqe.toBytes({ ...sqe, sglId: SglId.inCapsule, sglLength: 48 }), ranges);
}

const BLOCK = new Uint8Array(4096).fill(0xaa);
const flushAll = (cid: number): Uint8Array =>
  capsule(Sqe.toBytes({ opc: IoOpcode.Flush, cid, psdt: 1, nsid: 0xffffffff }));

for (const [name, command, steps] of [
  ['a write', rw(IoOpcode.Write, 1, 0, 1, BLOCK), 1],
  ['Dataset Management of three ranges', deallocate(1), 3],
  ['Flush of three namespaces', flushAll(1), 3],
] as const) {
  test(`${name}: what a device works on ends, further steps are not taken, and only then the queue is gone`, () => {
    for (let before = 0; before < steps; before++) {
      const devices = [new HeldDevice(), new HeldDevice(), new HeldDevice()];
      const { plane, adopt, gone } = drivenPlane();
      plane.update(snapshot(devices));
      adopt(1).receive(command);
      const held = () => devices.flatMap((device) => device.held);
      for (let i = 0; i < before; i++) for (const device of devices) device.finish();
      assert.equal(held().length, 1, `step ${before} is with the device`);
      assert.equal(held()[0]!.revoked, false);
      plane.closeQueue(1, 1);
      assert.equal(held()[0]!.revoked, true, 'a device that lets it wait can see that nobody wants it any more');
      assert.deepEqual(gone, [], 'the device still works for the queue');
      for (const device of devices) device.finish();
      assert.deepEqual(held(), [], 'no further step');
      assert.deepEqual(gone, [1]);
    }
  });
}

test('a write that waits for memory or for its data never starts once its queue is gone', () => {
  const device = new HeldDevice();
  const { plane, adopt, gone } = drivenPlane({ poolBytes: 1 << 20 });
  plane.update(snapshot([device]));
  const connection = adopt(1);
  // The first takes the pool's memory, the others wait for some; none has data.
  for (let cid = 0; cid < 4; cid++) connection.receive(rw(IoOpcode.Write, cid, cid * 256, 256));
  plane.closeQueue(1, 1);
  assert.deepEqual(gone, [1]);
  assert.equal(device.submitted, 0);
  plane.environment.retryStarved();
  assert.equal(device.submitted, 0);
});

test('commands that were received but not run are not run once the queue is gone', () => {
  const device = new HeldDevice();
  const { plane, adopt } = drivenPlane({ beforeReceive: () => plane.closeQueue(1, 1) });
  plane.update(snapshot([device]));
  const connection = adopt(1);
  connection.receive(Buffer.concat([rw(IoOpcode.Write, 0, 0, 1, BLOCK), rw(IoOpcode.Write, 1, 1, 1, BLOCK)]));
  assert.equal(device.submitted, 0, 'what the control plane has published holds for the next command');
});

test('a thread that dies has ended only when its last system call has, and its queues are reported gone after that', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nvbraid-fence-'));
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  const worker = new Worker(new URL('./support/blocked-writer.ts', import.meta.url), { workerData: pipe });
  let ended = false;
  const exit = new Promise((resolve) => worker.once('exit', resolve)).then(() => (ended = true));
  const failed = new Promise((resolve) => worker.once('error', resolve));
  await new Promise((resolve) => worker.once('message', resolve));
  await sleep(300); // a thread whose end did not wait would be gone
  assert.equal(ended, false, 'the system call is under way');
  let drained = 0;
  while (drained < 150_000) {
    try {
      drained += readSync(fd, Buffer.alloc(65536));
    } catch {
      await sleep(1); // nothing there yet
    }
  }
  await failed;
  await exit;
  closeSync(fd);
  rmSync(directory, { recursive: true });
});
