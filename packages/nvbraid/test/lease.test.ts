import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { IoOpcode } from '@nvbraid/wire';
import { Lease } from '../src/lease.ts';
import { LEASE_SLACK_MS } from '../src/limits.ts';
import { drivenPlane, snapshot } from './support/driven-plane.ts';
import { HeldDevice } from './support/held-device.ts';
import { rw } from './support/raw-peer.ts';

const BLOCK = new Uint8Array(4096).fill(0xaa);

test('a lease is over after its time, never without Keep Alive, and for good at the end of its association', () => {
  const lease = new Lease();
  const other = new Lease(lease.buffer);
  const now = performance.now();
  assert.equal(other.over, false);
  lease.extend(now + 60_000);
  assert.equal(other.over, false);
  lease.extend(now - LEASE_SLACK_MS - 1000);
  assert.equal(other.over, true);
  lease.extend(now + 20 * 86_400_000);
  assert.equal(other.over, false, 'the longest timeout there is');
  lease.extend(Number.POSITIVE_INFINITY);
  assert.equal(other.over, false);
  lease.end();
  lease.extend(now + 60_000);
  assert.equal(other.over, true);
});

test('threads agree on the time of a lease, whenever they were started', async () => {
  const module = new URL('../src/lease.ts', import.meta.url).href;
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(${JSON.stringify(module)}).then(({ Lease }) => {
      parentPort.postMessage(workerData.map((buffer) => new Lease(buffer).over));
    });
  `;
  const [past, future] = [new Lease(), new Lease()];
  past.extend(performance.now() - 1000);
  future.extend(performance.now() + 60_000);
  const worker = new Worker(code, { eval: true, workerData: [past.buffer, future.buffer] });
  assert.deepEqual((await once(worker, 'message'))[0], [true, false]);
  await worker.terminate();
});

test('what is received after the end of a lease is not run, and what waits for a device is revoked', () => {
  const device = new HeldDevice();
  const { plane, adopt, gone } = drivenPlane();
  plane.update(snapshot([device]));
  const lease = new Lease();
  const connection = adopt(1, 64, lease.buffer);
  connection.receive(rw(IoOpcode.Write, 0, 0, 1, BLOCK));
  assert.equal(device.held[0]!.revoked, false);
  lease.extend(performance.now() - 1000);
  assert.equal(device.held[0]!.revoked, true);
  connection.receive(rw(IoOpcode.Write, 1, 1, 1, BLOCK));
  assert.equal(device.submitted, 1);
  assert.ok(connection.destroyed);
  assert.deepEqual(gone, []);
  device.finish();
  assert.deepEqual(gone, [1]);
});
