import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { connectController, createTarget, NvbraidError, NvmeError } from 'nvbraid';

/*
 * A target that is told to stop answers what has arrived before it closes: a host knows of every command whether it was
 * done, and what it was told is true.
 */

const NQN = 'nqn.2026-01.io.nvbraid:drain';
const BLOCK = 4096;
const BLOCKS = 256;
/** Commands under way of each host when the target is told to stop. */
const DEPTH = 64;
for (const reactors of [0, 1, 2]) {
  test(`commands under way are answered, and what was answered is there, ${reactors} reactors`, async () => {
    const device = memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK });
    const target = await createTarget({ reactors });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { nsid: 1, device, filters: [{ kind: 'delay', hold: 'write' }] });
    const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
    // One queue each: a host of several gives all of them up when the first is closed, perhaps with answers unread.
    const hosts = await Promise.all(
      [0, 1].map(() =>
        connectController({ traddr: port.address, trsvcid: port.port, nqn: NQN, nrIoQueues: 1, ctrlLossTmo: 0 }),
      ),
    );
    const writes = hosts.flatMap((host, h) =>
      Array.from({ length: DEPTH }, (_, i) => {
        const slba = h * DEPTH + i;
        return host
          .namespace(1)
          .write(slba, Buffer.alloc(BLOCK, slba + 1))
          .then(() => slba);
      }),
    );
    const held = (): number => (target.filters(NQN, 1).get('delay').report as { held: number }).held;
    while (held() < writes.length) await new Promise((resolve) => setTimeout(resolve, 2));
    const drained = target.drain(120_000); // the bound is not what is tested, however busy the machine is
    // They end when the target takes nothing any more.
    await assert.rejects(
      connectController({ traddr: port.address, trsvcid: port.port, nqn: NQN, ctrlLossTmo: 0 }),
      (error) => error instanceof NvbraidError && error.code === 'ECONNREFUSED',
    );
    // What hosts send now is neither run nor answered, and does not cost them the answers to what they sent before.
    const late = hosts.map((host) => host.namespace(1).read(0, Buffer.alloc(BLOCK)));
    const lateEnds = Promise.allSettled(late);
    await Promise.all(hosts.map((host) => host.getLogPage(2, 512)));
    await target.filters(NQN, 1).act('delay', 'release');
    assert.equal(await drained, true);
    const ends = await Promise.allSettled(writes);
    assert.deepEqual(
      ends.map(({ status }) => status),
      writes.map(() => 'fulfilled'),
      'each command was answered',
    );
    await target.close();
    assert.deepEqual(
      (await lateEnds).map(({ status }) => status),
      hosts.map(() => 'rejected'),
    );
    const bytes = new Uint8Array(device.buffer);
    for (let slba = 0; slba < 2 * DEPTH; slba++) assert.equal(bytes[slba * BLOCK], (slba + 1) & 0xff, `block ${slba}`);
    await Promise.all(hosts.map((host) => host.disconnect()));
  });

  test(`a host that goes on sending is no reason to go on, ${reactors} reactors`, async () => {
    const device = memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK });
    const target = await createTarget({ reactors });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { nsid: 1, device });
    const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
    const host = await connectController({
      traddr: port.address,
      trsvcid: port.port,
      nqn: NQN,
      nrIoQueues: 1,
      ctrlLossTmo: 0,
    });
    let stopped = false;
    const acknowledged = new Uint8Array(BLOCKS);
    const writer = async (lane: number): Promise<void> => {
      for (let round = 1; !stopped; round++) {
        // Some longer than what goes into a capsule: their data is asked for.
        const blocks = round % 3 === 0 ? 8 : 1;
        const slba = lane * 16;
        try {
          await host.namespace(1).write(slba, Buffer.alloc(BLOCK * blocks, round & 0xff));
          acknowledged[slba] = round & 0xff;
        } catch (error) {
          assert.ok(error instanceof NvmeError || error instanceof NvbraidError, String(error));
          stopped = true;
        }
      }
    };
    const running = Promise.all(Array.from({ length: 16 }, (_, lane) => writer(lane)));
    while (target.stats().writeCommands < 500) await new Promise((resolve) => setTimeout(resolve, 2));
    await target.drain();
    await target.close();
    await running;
    const bytes = new Uint8Array(device.buffer);
    for (let lane = 0; lane < 16; lane++) {
      const there = bytes[lane * 16 * BLOCK]!;
      const told = acknowledged[lane * 16]!;
      assert.ok(there === told || there === ((told + 1) & 0xff), `lane ${lane}: told ${told}, there is ${there}`);
    }
    await host.disconnect();
  });
}

test('a command that never ends is not waited for for ever', async () => {
  const target = await createTarget({ reactors: 0 });
  target.addSubsystem({ nqn: NQN });
  const device = memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK });
  await target.addNamespace(NQN, { nsid: 1, device, filters: [{ kind: 'delay', hold: 'read' }] });
  const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const host = await connectController({
    traddr: port.address,
    trsvcid: port.port,
    nqn: NQN,
    nrIoQueues: 1,
    ctrlLossTmo: 0,
  });
  const read = host.namespace(1).read(0, Buffer.alloc(BLOCK));
  read.catch(() => {});
  const held = (): number => (target.filters(NQN, 1).get('delay').report as { held: number }).held;
  while (held() === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.equal(await target.drain(50), false);
  await target.filters(NQN, 1).act('delay', 'release');
  await target.close();
  await read.catch(() => {});
  await host.disconnect();
});
