import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { connect } from '../src/connect.ts';
import { createTarget, type Target, type TargetPort } from '../src/target.ts';

const NQN = 'nqn.2026-01.io.nvbraid:disconnect-test';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A target whose device holds what it is told to hold. */
async function served(count = 1): Promise<{ target: Target; ports: TargetPort[] }> {
  const target = await createTarget({ reactors: 1 });
  cleanups.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 4 << 20 }), filters: [{ kind: 'delay' }] });
  const ports: TargetPort[] = [];
  for (let i = 0; i < count; i++) {
    ports.push(await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] }));
  }
  return { target, ports };
}

async function connected(ports: readonly { readonly port: number }[]) {
  const paths = ports.map(({ port }) => ({ traddr: '127.0.0.1', trsvcid: port }));
  const head = await connect({ nqn: NQN, paths, keepAliveTmo: 2, reconnectDelay: 0.2 });
  cleanups.push(() => head.subsystem.disconnect(0));
  return head;
}

async function until(reached: () => boolean): Promise<void> {
  for (let i = 0; !reached(); i++) {
    assert.ok(i < 1000, 'it did not happen');
    await sleep(10);
  }
}

const held = (target: Target): number => Number((target.filters(NQN, 1).get('delay').report as { held: number }).held);

describe('disconnecting', () => {
  test('a call that was made before ends with its result on the only path, and none is taken any more', async () => {
    const { target, ports } = await served();
    const head = await connected(ports);
    const filters = target.filters(NQN, 1);
    filters.set('delay', { hold: 'write' });
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await until(() => held(target) === 1);
    let gone = false;
    const going = head.disconnect().then(() => (gone = true));
    await assert.rejects(head.read(0, Buffer.alloc(head.blockSize)), { code: 'ESHUTDOWN', message: /disconnected/ });
    await assert.rejects(head.flush(), { code: 'ESHUTDOWN' });
    await sleep(100);
    assert.ok(!gone, 'it waits for the write');
    await filters.act('delay', 'release');
    await write;
    await going;
    filters.set('delay', { hold: 'none' });
    const again = await connected(ports);
    const block = Buffer.alloc(again.blockSize);
    await again.read(3, block);
    assert.ok(block.every((byte) => byte === 7));
    await assert.rejects(head.read(0, block), { code: 'ESHUTDOWN' });
  });

  test('a call whose path is lost meanwhile ends by another one', async () => {
    const { target, ports } = await served(2);
    const head = await connected(ports);
    const filters = target.filters(NQN, 1);
    filters.set('delay', { hold: 'write', count: 1 });
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await until(() => held(target) === 1);
    const going = head.disconnect();
    const busy = head.core.paths.find(({ controller }) => controller.outstandingIo > 0)!;
    target.core.subsystem(NQN)!.controllers.get(busy.controller.cntlid)!.remove('connection closed');
    await filters.act('delay', 'release');
    await write;
    await going;
    assert.equal(busy.controller.resets, 1);
  });

  test('one of two controllers goes without a failover of what it has', async () => {
    const { target, ports } = await served(2);
    const head = await connected(ports);
    const filters = target.filters(NQN, 1);
    filters.set('delay', { hold: 'write', count: 1 });
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await until(() => held(target) === 1);
    const busy = head.subsystem.controllers.find(({ core }) => core.outstandingIo > 0)!;
    const going = busy.disconnect();
    await head.write(4, Buffer.alloc(head.blockSize, 8));
    await filters.act('delay', 'release');
    await write;
    await going;
    assert.equal(head.core.paths.length, 1);
    assert.ok(head.subsystem.status()[0]!.paths.every(({ failovers }) => failovers === 0));
  });

  test('a device that does not end a call ends the patience: ESHUTDOWN, and a sentence', async () => {
    const { target, ports } = await served();
    const head = await connected(ports);
    target.filters(NQN, 1).set('delay', { hold: 'write' });
    const logs: string[] = [];
    head.subsystem.on('log', (message) => logs.push(message));
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await until(() => held(target) === 1);
    await Promise.all([assert.rejects(write, { code: 'ESHUTDOWN' }), head.subsystem.disconnect(200)]);
    assert.ok(
      logs.some((log) => /1 call did not end in 200 ms .*not known/.test(log)),
      logs.join('\n'),
    );
  });

  test('a peer that says nothing any more does not keep us', async () => {
    const { ports } = await served();
    const pipe = await stallable(ports[0]!.port);
    const head = await connected([pipe]);
    pipe.stall();
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await Promise.all([assert.rejects(write, { code: 'ESHUTDOWN' }), head.subsystem.disconnect(200)]);
    assert.equal(head.subsystem.controllers.length, 0);
  });

  test('with all paths lost what waits has its time, too', async () => {
    const { ports } = await served();
    const head = await connected(ports);
    await ports[0]!.close();
    await until(() => head.subsystem.controllers.every(({ state }) => state === 'connecting'));
    const write = head.write(3, Buffer.alloc(head.blockSize, 7));
    await Promise.all([assert.rejects(write, { code: 'ESHUTDOWN' }), head.subsystem.disconnect(200)]);
  });
});

/** A port in front of another one that can stop passing bytes on, while its connections stay. */
async function stallable(to: number): Promise<{ port: number; stall(): void }> {
  const sockets: Socket[] = [];
  const server = createServer((near) => {
    const far = createConnection(to, '127.0.0.1');
    sockets.push(near, far);
    for (const socket of [near, far]) socket.on('error', () => {});
    near.pipe(far).pipe(near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const stall = (): void => {
    for (const socket of sockets) socket.unpipe().pause();
  };
  return { port: (server.address() as { port: number }).port, stall };
}
