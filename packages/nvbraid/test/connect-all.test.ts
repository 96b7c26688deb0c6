import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { type ConnectAllOptions, connectAll, HostConnections, type PathOutcome } from '../src/discovery/connect-all.ts';
import type { ServiceStatus } from '../src/discovery/discovery-watch.ts';
import type { HostSubsystem } from '../src/host-subsystem.ts';
import { DiscoverySite, until } from './support/discovery-site.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:';
const A = `${NQN}a`;
const B = `${NQN}b`;
const FAST = { reconnectDelay: 0.02, keepAliveTmo: 5 };

/** Connects, and remembers what was told meanwhile. */
async function connected(options: ConnectAllOptions): Promise<{ all: HostConnections; told: PathOutcome[] }> {
  const all = new HostConnections({ ...FAST, ...options });
  const told: PathOutcome[] = [];
  all.on('path', (path) => told.push(path));
  await all.start();
  return { all, told };
}

function shape(all: HostConnections): Record<string, number> {
  const sizes = [...all.subsystems].map(([nqn, subsystem]) => [nqn, subsystem.controllers.length] as const);
  return Object.fromEntries(sizes.sort(([a], [b]) => a.localeCompare(b)));
}

describe('connectAll', () => {
  test('several records of one name are paths of one subsystem, and its head works', async () => {
    const site = await DiscoverySite.open([A, B]);
    await site.another([A]);
    const { all, told } = await connected(site.options);
    try {
      assert.deepEqual(shape(all), { [A]: 2, [B]: 1 });
      assert.deepEqual(
        told.map(({ outcome }) => outcome),
        ['connected', 'connected', 'connected'],
      );
      const head = all.subsystems.get(A)!.head(1);
      const block = Buffer.alloc(512, 7);
      await head.write(3, block);
      const back = Buffer.alloc(512);
      await head.read(3, back);
      assert.deepEqual(back, block);
      assert.equal(all.subsystems.get(A)!.status()[0]!.paths.length, 2);
    } finally {
      await all.disconnect();
      assert.equal(all.subsystems.size, 0);
      await site.close();
    }
  });

  test('two discovery controllers that tell the same connect it once; a referral leads further', async () => {
    const [a, b] = [await DiscoverySite.open([A]), await DiscoverySite.open([B])];
    a.refer('b', b.port.port);
    b.refer('a', a.port.port);
    const { all } = await connected({ discovery: [a.options, b.options] });
    try {
      assert.deepEqual(shape(all), { [A]: 1, [B]: 1 });
      assert.deepEqual(
        all.services.map(({ error }) => error),
        [null, null],
      );
    } finally {
      await all.disconnect();
      await a.close();
      await b.close();
    }
  });

  test('one path that fails is told of, the others go on', async () => {
    const site = await DiscoverySite.open([A]);
    const dead = { nqn: B, paths: [{ transport: 'net', traddr: '127.0.0.1', trsvcid: 1 }] };
    const known = { nqn: A, paths: [{ ...site.options }] };
    const { all, told } = await connected({ ...site.options, subsystems: [dead, known] });
    try {
      assert.deepEqual(shape(all), { [A]: 1 });
      const outcomes = told.map(({ nqn, outcome, error }) => [nqn, outcome, error?.code ?? null]);
      assert.deepEqual(outcomes.sort(), [
        [A, 'connected', null],
        [B, 'failed', 'ECONNREFUSED'],
      ]);
    } finally {
      await all.disconnect();
      await site.close();
    }
  });

  test('nobody there, nothing named, aborted', async () => {
    await assert.rejects(connectAll({ transport: 'net', traddr: '127.0.0.1', trsvcid: 1 }), { code: 'ECONNREFUSED' });
    const lasting = { transport: 'net', traddr: '127.0.0.1', trsvcid: 1, persistent: true };
    await assert.rejects(connectAll(lasting), { code: 'ECONNREFUSED' });
    await assert.rejects(connectAll({}), { code: 'EINVAL' });
    const site = await DiscoverySite.open([A]);
    await assert.rejects(connectAll({ ...site.options, signal: AbortSignal.abort() }), { code: 'EABORTED' });
    await until(() => site.target.stats().connections === 0);
    await site.close();
  });

  test('a bad option fails its paths and nothing else', async () => {
    const site = await DiscoverySite.open([A]);
    const { all, told } = await connected({ ...site.options, iopolicy: 'random' });
    assert.deepEqual(
      told.map(({ error }) => error?.code),
      ['EINVAL'],
    );
    await all.disconnect();
    await site.close();
  });
});

describe('connectAll persistent', () => {
  test('what comes is connected, what goes stays unless asked', async () => {
    for (const disconnectRemoved of [false, true]) {
      const site = await DiscoverySite.open([A]);
      const { all } = await connected({ ...site.options, persistent: true, disconnectRemoved });
      try {
        assert.deepEqual(shape(all), { [A]: 1 });
        const came = once(all, 'subsystem');
        await site.add(B);
        assert.equal(((await came) as [HostSubsystem])[0].nqn, B);
        const second = await site.another([A]);
        await until(() => all.paths.filter(({ nqn, outcome }) => nqn === A && outcome === 'connected').length === 2);
        // The port keeps its hosts, the log does not lead there any more.
        const gone = disconnectRemoved ? once(all, 'path-closed') : null;
        await site.target.unlink(second.portid, A);
        if (gone === null) await site.add(`${NQN}c`).then(() => until(() => all.subsystems.has(`${NQN}c`)));
        else await gone;
        // Without the link the target ends the association; a path that nobody tells of is not connected again.
        await until(() => all.subsystems.get(A)!.controllers.filter(({ state }) => state === 'live').length === 1);
        assert.equal(all.subsystems.get(B)!.controllers.length, 1);
      } finally {
        await all.disconnect();
        await site.close();
      }
    }
  });

  test('referrals are watched as well: one that comes is connected to, one that goes is left', async () => {
    const [a, b] = [await DiscoverySite.open([A]), await DiscoverySite.open([])];
    b.refer('a', a.port.port);
    const { all } = await connected({ ...a.options, persistent: true });
    const services: ServiceStatus[] = [];
    all.on('discovery', (service) => services.push(service));
    try {
      a.refer('b', b.port.port);
      await until(() => all.services.length === 2 && all.services[1]!.state === 'live');
      await b.add(B);
      await until(() => all.subsystems.has(B));
      a.unrefer('b');
      await until(() => all.services.length === 1);
      await until(() => b.target.stats().controllers === 1);
      assert.deepEqual(shape(all), { [A]: 1, [B]: 1 }, 'what works stays');
      assert.deepEqual(
        services.map(({ depth, state }) => [depth, state]),
        [[1, 'live']],
      );
    } finally {
      await all.disconnect();
      await a.close();
      await b.close();
    }
  });

  test('a service and a path that are not there at first are tried again, and told of once', async () => {
    const spare = await DiscoverySite.open([]);
    const { options } = spare;
    await spare.close();
    const site = await DiscoverySite.open([A]);
    site.refer('late', options.trsvcid);
    const dead = { nqn: `${NQN}c`, paths: [options] };
    const { all, told } = await connected({ ...site.options, persistent: true, subsystems: [dead] });
    const failed: string[] = all.services.flatMap(({ error }) => (error === null ? [] : [error.code]));
    let late: DiscoverySite | undefined;
    try {
      assert.deepEqual(failed, ['ECONNREFUSED']);
      await new Promise((resolve) => setTimeout(resolve, 100)); // some attempts
      assert.equal(told.filter(({ outcome }) => outcome === 'failed').length, 1);
      late = await DiscoverySite.open([B, `${NQN}c`], options.trsvcid);
      await until(() => all.subsystems.has(B) && all.subsystems.has(`${NQN}c`));
      assert.deepEqual(shape(all), { [A]: 1, [B]: 1, [`${NQN}c`]: 1 });
    } finally {
      await all.disconnect();
      await site.close();
      await late?.close();
    }
  });

  test('a subsystem that was disconnected on purpose is not connected again', async () => {
    const site = await DiscoverySite.open([A, B]);
    const { all } = await connected({ ...site.options, persistent: true });
    try {
      const closed = once(all, 'subsystem-closed');
      await all.subsystems.get(A)!.disconnect();
      await closed;
      await site.add(`${NQN}c`);
      await until(() => all.subsystems.has(`${NQN}c`));
      assert.deepEqual(shape(all), { [B]: 1, [`${NQN}c`]: 1 });
    } finally {
      await all.disconnect();
      await site.close();
    }
  });
});
