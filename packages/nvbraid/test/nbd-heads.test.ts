import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  fileDevice,
  memoryDevice,
  openDevice,
  prepareDevice,
  releaseDevice,
  type VolatileCache,
  volatileCache,
} from '@nvbraid/blockdev';
import { NbdCommand, NbdCommandFlag, NbdError, NbdExportFlag } from '@nvbraid/wire';
import { connectSubsystem } from '../src/connect.ts';
import { NbdHeads, type NbdHeadsOptions, nbdUri } from '../src/head-threads.ts';
import type { HostHead } from '../src/host-head.ts';
import { offerHeads } from '../src/nbd-heads.ts';
import { NbdServer } from '../src/nbd-server.ts';
import { createTarget, type Target, type TargetPort } from '../src/target.ts';
import { NbdClient } from './support/nbd-client.ts';

const NQN = 'nqn.2026-01.io.nvbraid:nbd-test';
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-nbd-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
const socket = join(scratch, 'nbd.sock');
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; !condition(); i++) {
    assert.ok(i < 2000, `never: ${what}`);
    await sleep(10);
  }
}

async function served(namespaces = 1): Promise<{ target: Target; ports: TargetPort[] }> {
  const target = await createTarget({ reactors: 1 });
  cleanups.push(() => target.close());
  target.addSubsystem({ nqn: NQN });
  for (let i = 0; i < namespaces; i++) await target.addNamespace(NQN, { device: memoryDevice({ size: 4 << 20 }) });
  const ports: TargetPort[] = [];
  for (let i = 0; i < 2; i++) ports.push(await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] }));
  return { target, ports };
}

const pathsOf = (ports: readonly TargetPort[]) =>
  ports.map(({ address, port }) => ({ traddr: address, trsvcid: port }));

async function offered(ports: readonly TargetPort[]) {
  const subsystem = await connectSubsystem({ nqn: NQN, paths: pathsOf(ports), reconnectDelay: 1 });
  cleanups.push(() => subsystem.disconnect());
  const server = new NbdServer();
  cleanups.push(() => server.close());
  const heads = new Map<number, HostHead>();
  offerHeads(server, subsystem, heads);
  const uri = await server.listen({ path: socket });
  const client = async (name = ''): Promise<NbdClient> => {
    const one = await NbdClient.connect(uri, name);
    cleanups.push(() => one.end());
    return one;
  };
  return { subsystem, server, heads, client };
}

describe('heads offered by NBD', () => {
  test('clients of a namespace that grows, shrinks or is write-protected', async () => {
    const path = join(scratch, 'resized.img');
    const target = await createTarget({ reactors: 1 });
    cleanups.push(() => target.close());
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: fileDevice({ path, size: 1 << 20, create: true }) });
    const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
    const { client, heads } = await offered([port]);
    const head = heads.get(1)!;
    const old = await client();
    assert.equal(old.size, 1 << 20);
    const beyond = { type: NbdCommand.Write, at: 1 << 20, data: Buffer.alloc(4096, 3) };
    const write = () => old.request(beyond.type, beyond.at, 4096, 0, beyond.data);
    assert.equal((await write()).error, NbdError.ENOSPC);

    truncateSync(path, 2 << 20);
    await target.revalidateNamespace(NQN, 1);
    await until(() => head.size === 2 << 20, 'the namespace has grown');
    assert.equal((await write()).error, 0, 'who knows of it may use it');
    assert.equal((await client()).size, 2 << 20, 'new clients are told');

    target.core.subsystem(NQN)!.setWriteProtection(1, 1);
    await until(() => head.readOnly, 'the namespace is write-protected');
    assert.equal((await write()).error, NbdError.EPERM);
    assert.equal((await old.read(1 << 20, 4096))[0], 3);
    assert.ok(((await client()).flags & NbdExportFlag.ReadOnly) !== 0);
    target.core.subsystem(NQN)!.setWriteProtection(1, 0);
    await until(() => !head.readOnly, 'the protection is lifted');
    assert.equal((await write()).error, 0);

    truncateSync(path, 1 << 20);
    await target.revalidateNamespace(NQN, 1);
    await until(() => head.size === 1 << 20, 'the namespace has shrunk');
    assert.equal((await write()).error, NbdError.ENOSPC);
    assert.equal((await old.request(NbdCommand.Read, 1 << 20, 4096)).error, NbdError.EINVAL);
  });

  test('clients of a namespace that is removed never see the one that takes its nsid', async () => {
    const { target, ports } = await served();
    const { client, heads, server } = await offered(ports);
    const old = await client();
    await old.write(0, Buffer.alloc(4096, 7));
    await target.removeNamespace(NQN, 1);
    await until(() => heads.size === 0, 'the export goes');
    assert.equal((await old.request(NbdCommand.Read, 0, 4096)).error, NbdError.EIO);
    await assert.rejects(client(`${NQN}/1`), /there is no export/);
    await target.addNamespace(NQN, { nsid: 1, device: memoryDevice({ size: 2 << 20 }), uuid: randomUUID() });
    await until(() => heads.size === 1, 'another namespace of the same nsid');
    const fresh = await client(`${NQN}/1`);
    assert.equal(fresh.size, 2 << 20);
    await fresh.write(0, Buffer.alloc(4096, 8));
    assert.equal((await old.request(NbdCommand.Read, 0, 4096)).error, NbdError.EIO);
    assert.equal((await old.request(NbdCommand.Write, 0, 4096, 0, Buffer.alloc(4096))).error, NbdError.EIO);
    assert.deepEqual([...server.clients().values()], [2]);
  });

  /** A target whose device forgets, in a crash, what was not flushed. */
  async function forgetful() {
    const prepared = await prepareDevice(volatileCache(memoryDevice({ size: 4 << 20, blockSize: 4096 })));
    cleanups.push(() => releaseDevice(prepared));
    const cache = openDevice(prepared, { threads: 1 }) as VolatileCache;
    const target = await createTarget({ reactors: 0 });
    cleanups.push(() => target.close());
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: cache });
    const ports: TargetPort[] = [];
    for (let i = 0; i < 2; i++) ports.push(await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] }));
    return { cache, ports };
  }

  test('a Flush on one connection covers what has ended on all, by every path', async () => {
    const { cache, ports } = await forgetful();
    const { subsystem, client } = await offered(ports);
    subsystem.setIopolicy('round-robin');
    const [a, b] = [await client(), await client()];
    assert.ok((a.flags & NbdExportFlag.CanMultiConn) !== 0);
    assert.ok((a.flags & NbdExportFlag.SendFlush) !== 0);
    const blocks = Array.from({ length: 32 }, (_, i) => i);
    await Promise.all(blocks.map((i) => (i % 2 ? a : b).write(i * 4096, Buffer.alloc(4096, i + 1))));
    await b.flush();
    await a.write(64 * 4096, Buffer.alloc(4096, 99));
    await a.write(65 * 4096, Buffer.alloc(4096, 98), NbdCommandFlag.Fua);
    const { lost } = await cache.crash();
    assert.equal(lost, 1);
    for (const i of blocks) assert.equal((await a.read(i * 4096, 4096))[0], i + 1, `block ${i}`);
    assert.equal((await b.read(64 * 4096, 4096))[0], 0, 'written after the Flush');
    assert.equal((await b.read(65 * 4096, 4096))[0], 98, 'written with FUA');
    const used = subsystem.status()[0]!.paths.map(({ commands }) => commands);
    assert.ok(used.length === 2 && used.every((commands) => commands > 0), `commands by path: ${used}`);
  });

  test('a server that closes makes stable what clients have left behind', async () => {
    const { cache, ports } = await forgetful();
    const { server, client } = await offered(ports);
    const one = await client();
    await one.write(0, Buffer.alloc(4096, 5));
    one.end();
    await until(() => server.connections === 0, 'the client is gone');
    assert.equal(cache.dirtyBlocks, 1);
    await server.close();
    assert.equal(cache.dirtyBlocks, 0);
  });

  test('a server that closes answers what is under way and flushes', async () => {
    const { ports } = await served();
    const { server, client } = await offered(ports);
    const one = await client();
    const answers = Array.from({ length: 32 }, (_, i) =>
      one.request(NbdCommand.Write, i * 4096, 4096, 0, Buffer.alloc(4096, 1)),
    );
    await answers[0];
    await Promise.all([server.close(), one.closed]);
    for (const { error } of await Promise.all(answers)) assert.ok(error === 0 || error === -1);
    assert.ok(!existsSync(socket), 'the socket is gone');
  });
  test('a server that closes waits so long and no longer for a namespace whose paths are lost', async () => {
    const { ports } = await served();
    const { server, subsystem, client } = await offered(ports);
    const one = await client();
    await Promise.all(ports.map((port) => port.close()));
    await until(() => subsystem.controllers.every(({ state }) => state === 'connecting'), 'the paths are lost');
    const write = one.request(NbdCommand.Write, 0, 4096, 0, Buffer.alloc(4096, 1));
    await until(() => subsystem.status()[0]!.queued === 1, 'the write waits');
    const logs: string[] = [];
    server.on('log', (message) => logs.push(message));
    const [stable] = await Promise.all([server.close(200), one.closed]);
    assert.equal(stable, false);
    assert.equal((await write).error, -1);
    assert.ok(
      logs.some((log) => /under way has not ended in time: .* not known/.test(log)),
      logs.join('\n'),
    );
    await subsystem.disconnect(0);
  });
});

describe('heads on threads', () => {
  async function started(options: Partial<NbdHeadsOptions> = {}) {
    const { target, ports } = await served(2);
    const heads = await NbdHeads.start({
      nqn: NQN,
      paths: pathsOf(ports),
      reconnectDelay: 1,
      threads: 2,
      place: { path: socket },
      ...options,
    });
    cleanups.push(() => heads.close());
    const client = async (nsid: number): Promise<NbdClient> => {
      const { server, name } = heads.offers.find((offer) => offer.nsid === nsid)!;
      const one = await NbdClient.connect(server, name);
      cleanups.push(() => one.end());
      return one;
    };
    return { target, heads, client };
  }

  test('namespaces are spread over threads, and one that is killed harms no other and comes back', async () => {
    const { target, heads, client } = await started();
    assert.deepEqual(
      heads.offers.map(({ nsid, thread, server }) => [nsid, thread, server]),
      [
        [1, 0, `nbd+unix:///?socket=${socket}`],
        [2, 1, `nbd+unix:///?socket=${socket}.1`],
      ],
    );
    const controllers = () => target.core.subsystem(NQN)!.controllers.size;
    assert.equal(controllers(), 4, 'each thread has a controller by each path');
    const [one, two] = [await client(1), await client(2)];
    await one.write(4096, Buffer.alloc(8192, 1));
    await two.write(4096, Buffer.alloc(8192, 2));
    const status = await heads.status();
    assert.deepEqual(
      status.map(({ thread, connections, heads: of }) => [thread, connections, of.map(({ nsid }) => nsid)]),
      [
        [0, 1, [1]],
        [1, 1, [2]],
      ],
    );
    const log: string[] = [];
    heads.on('log', (message) => log.push(message));
    await heads.restart(1);
    await two.closed;
    await until(() => controllers() === 2, 'the connections of the dead thread are closed');
    assert.deepEqual(
      heads.offers.map(({ nsid }) => nsid),
      [1],
    );
    assert.equal((await one.read(4096, 4096))[0], 1);
    await until(() => heads.offers.length === 2, `the thread is back: ${log.join('; ')}`);
    assert.match(log.join('\n'), /head thread 1 ended; it is started again in 500 ms/);
    assert.deepEqual(await (await client(2)).read(8192, 4096), Buffer.alloc(4096, 2));
    assert.deepEqual(await one.read(8192, 4096), Buffer.alloc(4096, 1), 'the other connection lives');
  });

  test('threads on TCP: a thread comes back to its port', async () => {
    const { heads, client } = await started({ place: { address: '127.0.0.1', port: 0 } });
    const before = heads.offers;
    const one = await client(1);
    await one.write(0, Buffer.alloc(4096, 9));
    await heads.restart(0);
    await one.closed;
    await until(() => heads.offers.length === 2, 'the thread is back');
    assert.deepEqual(heads.offers, before);
    assert.deepEqual(await (await client(1)).read(0, 4096), Buffer.alloc(4096, 9));
  });

  test('calls go to a module of methods in each thread; what is remembered holds for a thread that comes back', async () => {
    const { ports } = await served(2);
    const methods = new URL('./support/head-methods.ts', import.meta.url).href;
    const options = { nqn: NQN, paths: pathsOf([ports[0]!]), threads: 2, place: { path: socket }, methods };
    const heads = await NbdHeads.start(options);
    cleanups.push(() => heads.close());
    assert.deepEqual(heads.methods.slice(0, 2), ['describe', 'refuse']);
    const described = (thread: number) => heads.call(thread, 'describe') as Promise<Record<string, unknown>>;
    assert.deepEqual((await described(0)).controllers, ['nvme1']);
    assert.deepEqual((await described(1)).controllers, ['nvme2'], 'no name twice');
    await assert.rejects(heads.call(1, 'refuse', { why: 'full moon' }), {
      code: 'EBUSY',
      message: 'full moon',
      context: { lucky: 7 },
    });
    await assert.rejects(heads.call(0, 'toString'), { code: 'EINVAL' });
    heads.remember({ paths: pathsOf(ports), iopolicy: 'round-robin' });
    await heads.restart(1);
    await assert.rejects(described(1), { code: 'EWOULDBLOCK' });
    await until(() => heads.offers.length === 2, 'the thread is back');
    const after = await described(1);
    assert.deepEqual([after.iopolicy, after.controllers], ['round-robin', ['nvme2', 'nvme4']]);
    assert.deepEqual(new Set(after.ports as number[]), new Set(pathsOf(ports).map(({ trsvcid }) => Number(trsvcid))));
  });

  test('what a thread serves itself is gone with it, and is not offered again as an empty disk', async () => {
    const local = { nqn: NQN, namespaces: [{ device: memoryDevice({ size: 1 << 20 }) }] };
    const options = { nqn: NQN, local, place: { path: socket } };
    await assert.rejects(NbdHeads.start({ ...options, threads: 2 }), { code: 'EINVAL' });
    const heads = await NbdHeads.start(options);
    cleanups.push(() => heads.close());
    const { server, name } = heads.offers[0]!;
    const client = await NbdClient.connect(server, name);
    await client.write(0, Buffer.alloc(4096, 5));
    const closed = once(heads, 'closed');
    await heads.restart(0);
    await client.closed;
    assert.match(((await closed)[0] as Error).message, /head thread 0 ended/);
    await assert.rejects(NbdClient.connect(server, name));
    assert.equal(await heads.close(), true);
  });

  test('what keeps a thread from starting is told as connect tells it', async () => {
    const { ports } = await served();
    const start = (options: Partial<NbdHeadsOptions>) =>
      NbdHeads.start({ nqn: NQN, paths: pathsOf(ports), place: { path: socket }, ...options });
    await assert.rejects(start({ nqn: 'nqn.2026-01.io.nvbraid:none' }), { name: 'NvmeError' });
    await assert.rejects(start({ place: { path: join(scratch, 'no/such/directory') } }), { code: 'ENOENT' });
    await assert.rejects(start({ threads: 0 }), { code: 'EINVAL' });
    await assert.rejects(start({ paths: [{ traddr: '127.0.0.1', trsvcid: 1 }] }), { code: 'ECONNREFUSED' });
  });
});

test('URIs of exports', () => {
  assert.equal(nbdUri('nbd://127.0.0.1:10809', 'nvme0n1'), 'nbd://127.0.0.1:10809/nvme0n1');
  assert.equal(nbdUri('nbd+unix:///?socket=/run/x', `${NQN}/1`), `nbd+unix:///${NQN}/1?socket=/run/x`);
});
