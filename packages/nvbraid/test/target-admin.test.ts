import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { type DeviceSpec, fileDevice, memoryDevice } from '@nvbraid/blockdev';
import { AnaState, Status } from '@nvbraid/wire';
import { connectController, createTarget, discover, type HostController, NvmeError, type Target } from 'nvbraid';

/*
 * What an operator changes at run time, as hosts that are connected meet it: with everything on the main thread, and with
 * one and two reactors.
 */

const NQN = 'nqn.2026-01.org.nvbraid:admin';
const A = 'nqn.2026-01.org.nvbraid:host-a';
const B = 'nqn.2026-01.org.nvbraid:host-b';
const REACTORS = [0, 1, 2];
const BLOCK = 4096;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-admin-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

interface Served {
  readonly target: Target;
  readonly attach: (hostnqn?: string, more?: object) => Promise<HostController>;
  readonly end: () => Promise<void>;
}

async function serving(
  reactors: number,
  device: DeviceSpec = memoryDevice({ size: 1 << 20, blockSize: BLOCK }),
): Promise<Served> {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { nsid: 1, device });
  const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const hosts: HostController[] = [];
  return {
    target,
    async attach(hostnqn = A, more = {}) {
      const host = await connectController({
        traddr: port.address,
        trsvcid: port.port,
        nqn: NQN,
        hostnqn,
        nrIoQueues: 2,
        ...more,
      });
      hosts.push(host);
      return host;
    },
    async end() {
      await Promise.all(hosts.map((host) => host.disconnect()));
      await target.close();
    },
  };
}

const status = (expected: number) => (error: unknown) =>
  error instanceof NvmeError && (error.status & 0x7ff) === expected;

const refused = (code: string, sentence: RegExp) => (error: unknown) =>
  error instanceof NvbraidError && error.code === code && sentence.test(error.message);

/** Fulfilled when the host has looked at its namespaces and `holds`. */
async function until(host: HostController, holds: () => boolean): Promise<void> {
  while (!holds()) await once(host, 'namespaces');
}

for (const reactors of REACTORS) {
  test(`a namespace is there for the hosts it is shown to and for nobody else, ${reactors} reactors`, async () => {
    const { target, attach, end } = await serving(reactors);
    await target.addNamespace(NQN, { nsid: 2, device: memoryDevice({ size: 1 << 20, blockSize: BLOCK }), hosts: [A] });
    const [a, b] = [await attach(A), await attach(B)];
    assert.deepEqual([[...a.namespaces.keys()], [...b.namespaces.keys()]], [[1, 2], [1]]);
    const block = Buffer.alloc(BLOCK, 7);
    await a.namespace(2).write(0, block);
    const core = target.core.subsystem(NQN)!;
    core.attachHost(2, B);
    await until(b, () => b.namespaces.has(2));
    const ofB = b.namespace(2);
    await ofB.read(0, block);
    core.detachHost(2, B);
    // At once, whatever the host knows by then.
    await assert.rejects(ofB.read(0, block), (error) => error instanceof NvmeError || error instanceof NvbraidError);
    await until(b, () => !b.namespaces.has(2));
    await a.namespace(2).read(0, block);
    assert.equal(block[0], 7, 'nothing has changed for the other host');
    await end();
  });

  test(`a namespace that is disabled comes back with its identity and its data, ${reactors} reactors`, async () => {
    const path = join(scratch, `disable-${reactors}.img`);
    const device = fileDevice({ path, size: 1 << 20, create: true, blockSize: BLOCK });
    const { target, attach, end } = await serving(reactors, device);
    const host = await attach();
    const before = host.namespace(1);
    await before.write(3, Buffer.alloc(BLOCK, 0x33));
    await target.setNamespaceEnabled(NQN, 1, false);
    await assert.rejects(before.read(3, Buffer.alloc(BLOCK)));
    await until(host, () => !host.namespaces.has(1));
    assert.equal(target.core.subsystem(NQN)!.allocated.length, 1);
    await Promise.all([true, false, true].map((enabled) => target.setNamespaceEnabled(NQN, 1, enabled)));
    await until(host, () => host.namespaces.has(1));
    const block = Buffer.alloc(BLOCK);
    await host.namespace(1).read(3, block);
    assert.equal(block[0], 0x33);
    assert.equal(host.namespace(1).descriptors.uuid, before.descriptors.uuid);
    await end();
  });

  test(`a file that grows and shrinks under its namespace, ${reactors} reactors`, async () => {
    const path = join(scratch, `size-${reactors}.img`);
    const device = fileDevice({ path, size: 64 * BLOCK, create: true, blockSize: BLOCK });
    const { target, attach, end } = await serving(reactors, device);
    const host = await attach();
    truncateSync(path, 4096 * BLOCK);
    assert.equal(await target.revalidateNamespace(NQN, 1), 4096);
    await until(host, () => host.namespace(1).blockCount === 4096);
    // Longer than the file was: the locks of its blocks must not meet themselves.
    const data = Buffer.alloc(1 << 20, 0x5a);
    await Promise.all([host.namespace(1).write(0, data), host.namespace(1).write(2048, data)]);
    await host.namespace(1).writeZeroes(100, 3000);
    await host.namespace(1).write(4095, data.subarray(0, BLOCK));
    truncateSync(path, 32 * BLOCK);
    assert.equal(await target.revalidateNamespace(NQN, 1), 32);
    await until(host, () => host.namespace(1).blockCount === 32);
    await host.namespace(1).read(31, data.subarray(0, BLOCK));
    truncateSync(path, 32 * BLOCK + 1);
    await assert.rejects(target.revalidateNamespace(NQN, 1), refused('EINVAL', /not a multiple.*truncate/));
    assert.equal(target.core.subsystem(NQN)!.namespace(1)!.blockCount, 32, 'it stays what it was');
    truncateSync(path, 64 * BLOCK);
    await assert.rejects(target.revalidateNamespace(NQN, 9), refused('ENOENT', /no namespace 9/));
    await end();
  });

  test(`each change holds for the next command of every queue, ${reactors} reactors`, async () => {
    const { target, attach, end } = await serving(reactors);
    const core = target.core.subsystem(NQN)!;
    const port = [...target.core.ports][0]!;
    const hosts = await Promise.all([attach(A), attach(B)]);
    const block = Buffer.alloc(BLOCK);
    let stop = false;
    // Others keep all queues busy meanwhile; what becomes of their commands is not the question.
    const noise = hosts.map(async (host) => {
      const mine = Buffer.alloc(BLOCK);
      while (!stop) {
        await host.namespaces
          .get(1)
          ?.read(5, mine)
          .catch(() => {});
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    /** One command on each of the two queues of each host, sent when the change is done. */
    const each = (run: (host: HostController) => Promise<void>): Promise<unknown> =>
      Promise.all(hosts.flatMap((host) => [run(host), run(host), run(host), run(host)]));
    const ns = hosts.map((host) => host.namespace(1));
    const of = (host: HostController) => ns[hosts.indexOf(host)]!;
    for (let i = 0; i < 25; i++) {
      core.setReadOnly(1, true);
      await each((host) => assert.rejects(of(host).write(0, block), status(Status.NamespaceIsWriteProtected)));
      core.setReadOnly(1, false);
      await each((host) => of(host).write(0, block));
      port.setAnaState(1, AnaState.Inaccessible);
      await each((host) => assert.rejects(of(host).read(0, block), status(Status.AnaInaccessible)));
      port.setAnaState(1, AnaState.PersistentLoss);
      await each((host) => assert.rejects(of(host).read(0, block), status(Status.AnaPersistentLoss)));
      port.setAnaState(1, AnaState.Change);
      await each((host) => assert.rejects(of(host).read(0, block), status(Status.AnaTransition)));
      port.setAnaState(1, AnaState.NonOptimized);
      await each((host) => of(host).read(0, block));
      core.setAnaGroup(1, 2);
      port.setAnaState(2, AnaState.Inaccessible);
      await each((host) => assert.rejects(of(host).read(0, block), status(Status.AnaInaccessible)));
      core.setAnaGroup(1, 1);
      await each((host) => of(host).read(0, block));
    }
    stop = true;
    await Promise.all(noise);
    await end();
  });

  test(`whatever arrives on a queue keeps the association alive, ${reactors} reactors`, async () => {
    const { target, attach, end } = await serving(reactors);
    const host = await attach(A, { keepAliveTmo: 600 });
    const controller = target.core.controllers[0]!;
    const later = (): number => controller.deadlineMs + 1;
    controller.restartTimer();
    await host.namespace(1).read(0, Buffer.alloc(BLOCK));
    target.core.tick(later());
    assert.equal(controller.state, 'ready', 'the read was enough');
    assert.equal(controller.traffic[0], 0);
    const gone = once(target, 'controller-gone');
    target.core.tick(later());
    assert.equal((await gone)[1], 'keep alive timeout');
    await end();
  });
}

test('the first link lets a port listen, the last one that goes ends it', async () => {
  const target = await createTarget({ reactors: 1 });
  target.addSubsystem({ nqn: NQN });
  target.addSubsystem({ nqn: `${NQN}-2` });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: BLOCK }) });
  const port = target.addPort({ portId: 5, trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '0' });
  assert.equal(port.enabled, false);
  await assert.rejects(target.link(5, 'nobody'), refused('ENOENT', /nobody/));
  assert.equal(port.enabled, false, 'a link that failed leaves the port as it was');
  await Promise.all([target.link(5, NQN), target.link(5, `${NQN}-2`)]);
  assert.notEqual(port.trsvcid, '0', 'the port tells what the system has chosen');
  const at = { traddr: '127.0.0.1', trsvcid: port.trsvcid };
  const host = await connectController({ ...at, nqn: NQN, ctrlLossTmo: 0 });
  assert.throws(() => port.configure({ trsvcid: '1' }), refused('EACCES', /port 5 is enabled/));
  const gone = once(target, 'controller-gone');
  await target.unlink(5, NQN);
  assert.equal((await gone)[1], 'port unlinked');
  assert.equal((await discover(at)).records.length, 2, 'the other subsystem is still there');
  await target.unlink(5, `${NQN}-2`);
  assert.equal(port.enabled, false);
  await assert.rejects(discover(at), refused('ECONNREFUSED', /./));
  await host.disconnect().catch(() => {});
  const taken = target.addPort({ portId: 6, trtype: 'tcp', adrfam: 'ipv4', ...at });
  await target.enablePort(5);
  await assert.rejects(target.link(6, NQN), refused('EADDRINUSE', /in use/));
  assert.deepEqual([taken.enabled, taken.subsystems.size], [false, 0]);
  await target.disablePort(5);
  await target.link(6, NQN);
  await target.removePort(6);
  await assert.rejects(discover(at), refused('ECONNREFUSED', /./));
  const wrong = target.addPort({ portId: 7, trtype: 'tcp', adrfam: 'ipv6', traddr: '127.0.0.1', trsvcid: '0' });
  await assert.rejects(target.enablePort(7), refused('EINVAL', /port 7.*ipv6/));
  assert.equal(wrong.enabled, false);
  wrong.configure({ adrfam: 'ipv4', trsvcid: 'http' });
  await assert.rejects(target.enablePort(7), refused('EINVAL', /trsvcid/));
  await target.close();
});

for (const reactors of REACTORS) {
  test(`what a port offers holds for its queues, ${reactors} reactors`, async () => {
    const target = await createTarget({ reactors });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: BLOCK }) });
    for (const inCapsuleBytes of [0, 16, 65536]) {
      const port = await target.listen({
        address: '127.0.0.1',
        port: 0,
        subsystems: [NQN],
        inCapsuleBytes,
        maxQueueSize: 16,
        mdts: 1,
      });
      const host = await connectController({ traddr: port.address, trsvcid: port.port, nqn: NQN, queueSize: 16 });
      const data = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 7) & 0xff));
      await host.namespace(1).write(0, data);
      const back = Buffer.alloc(data.length);
      await host.namespace(1).read(0, back);
      assert.ok(back.equals(data), `${inCapsuleBytes} bytes in the capsule`);
      assert.ok(target.stats().writeCommands >= 8, 'in transfers of 8 KiB');
      await host.disconnect();
      await port.close();
    }
    await target.close();
  });
}
