import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import type { FaultRule } from '@nvbraid/target';
import { closeStories, HOST, NQN, pause, type Story, story, traffic, until } from './support/fault-story.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`fault stories: SEED=${SEED}`);

afterEach(closeStories);

const block = (fill: number): Uint8Array => new Uint8Array(4096).fill(fill);

async function readFirst({ controller }: Story, lba = 0): Promise<number> {
  const buffer = new Uint8Array(4096);
  await controller.namespace(1).read(lba, buffer);
  return buffer[0]!;
}

function hitsOf({ target }: Story): number {
  return target.faults.list().reduce((sum, { hits }) => sum + hits, 0);
}

describe('our host lives through every fault of the wire, and no I/O is lost, doubled, stale or torn', () => {
  const digests = { hdrDigest: true, dataDigest: true };
  const faults: { name: string; rules: FaultRule[]; options?: object }[] = [
    {
      name: 'answers to writes are dropped',
      rules: [{ action: 'drop', pdu: 'CapsuleResp', opcode: 'write', qid: '1-2', probability: 0.02 }],
    },
    { name: 'commands are dropped', rules: [{ action: 'drop', pdu: 'CapsuleCmd', qid: '1-2', probability: 0.02 }] },
    { name: 'data is dropped', rules: [{ action: 'drop', pdu: 'H2CData C2HData R2T', probability: 0.02 }] },
    {
      name: 'answers are delayed',
      rules: [{ action: 'delay', time: '20ms', pdu: 'CapsuleResp C2HData', qid: '1', probability: 0.1 }],
    },
    { name: 'R2Ts are stalled', rules: [{ action: 'stall', time: '30ms', pdu: 'R2T', probability: 0.2 }] },
    { name: 'R2Ts are stalled for longer than the host waits', rules: [{ action: 'stall', pdu: 'R2T', count: 5 }] },
    {
      name: 'bits flip under digests',
      rules: [{ action: 'corrupt', qid: '1-2', probability: 0.01 }],
      options: digests,
    },
    {
      name: 'header digests are wrong',
      rules: [{ action: 'header-digest', qid: '1-2', probability: 0.01 }],
      options: digests,
    },
    { name: 'data digests are wrong', rules: [{ action: 'data-digest', probability: 0.03 }], options: digests },
    { name: 'PDUs are cut off', rules: [{ action: 'truncate', qid: '1-2', probability: 0.005 }] },
    { name: 'queues are killed', rules: [{ action: 'kill-queue', qid: '2', probability: 0.01 }] },
    {
      name: 'controllers are killed',
      rules: [{ action: 'kill-controller', host: HOST, qid: '1-2', probability: 0.005 }],
    },
    {
      name: 'everything at once',
      rules: [
        { action: 'drop', qid: '1-2', probability: 0.003 },
        { action: 'corrupt', qid: '1-2', probability: 0.003 },
        { action: 'truncate', qid: '1-2', probability: 0.002 },
        { action: 'kill-queue', qid: '1-2', probability: 0.002 },
        { action: 'delay', time: '5ms', probability: 0.01 },
      ],
      options: digests,
    },
  ];
  for (const reactors of [0, 2]) {
    for (const { name, rules, options } of faults) {
      it(`${name}, with ${reactors} reactors`, async () => {
        const at = await story(reactors, options);
        const io = traffic(at, SEED);
        for (const rule of rules) at.target.faults.add({ seed: SEED, ...rule });
        await until('the faults have hit', () => io.checker.violation !== null || hitsOf(at) >= 5 * rules.length);
        const { done } = io;
        equal(at.target.faults.clear(), rules.length);
        await until('I/O goes on', () => io.checker.violation !== null || io.done > done + 50);
        await io.stop();
        equal(io.checker.violation, null);
        await at.close();
      });
    }
  }
});

describe('a fault, with 2 reactors', () => {
  it('holds for the next command after it was added, and for none after it was removed', async () => {
    const at = await story(2, { ioTimeoutMs: 60_000 });
    const namespace = at.controller.namespace(1);
    for (let round = 1; round <= 100; round++) {
      const { id } = at.target.faults.add({ action: 'stall', pdu: 'CapsuleCmd', opcode: 'write' });
      let ended = 0;
      // As many as reach both queues.
      const writes = [1, 2, 3, 4].map((lba) => namespace.write(lba, block(round)).then(() => ended++));
      await until('all four are held', () => at.target.faults.get(id).hits === 4);
      equal(await readFirst(at, 1), round - 1, 'reads pass; the write has not happened');
      equal(ended, 0, `round ${round}: a write has passed a fault that was in force`);
      at.target.faults.remove(id);
      await Promise.all(writes);
      equal(await readFirst(at, 1), round);
      await namespace.write(5, block(round));
    }
    deepEqual(at.gone, []);
    await at.close();
  });

  it('that is not there costs nothing: no queue has a tap after the last is removed', async () => {
    const at = await story(0);
    const io = traffic(at, SEED);
    for (let n = 0; n < 50; n++) {
      const { id } = at.target.faults.add({ action: 'delay', time: '1ms', pdu: 'R2T' });
      await pause(n % 3);
      at.target.faults.remove(id);
      await pause(n % 2);
    }
    await io.stop();
    equal(io.checker.violation, null);
    equal(io.failed, 0, 'faults that only delay let nothing fail, however often they come and go');
    await at.close();
  });

  it('counts over all threads', async () => {
    const at = await story(2, { ioTimeoutMs: 60_000 });
    at.target.faults.add({ action: 'stall', opcode: 'write', pdu: 'CapsuleCmd', count: 3, skip: 2, time: '20ms' });
    await Promise.all(Array.from({ length: 10 }, (_, lba) => at.controller.namespace(1).write(lba, block(1))));
    const [{ hits, left } = { hits: -1, left: -1 }] = at.target.faults.list();
    deepEqual([hits, left], [3, 0]);
    await at.close();
  });
});

describe('faults of a controller', () => {
  for (const reactors of [0, 1]) {
    it(`a swallowed Keep Alive: the target gives the host up, which comes back, with ${reactors} reactors`, async () => {
      const at = await story(reactors, { keepAliveTmo: 0.4 });
      const { id } = at.target.faults.add({ action: 'drop', opcode: 'keep-alive', qid: '0' });
      await until('the controller is gone', () => at.gone.length > 0);
      at.target.faults.remove(id);
      await until('the host is back', () =>
        readFirst(at).then(
          () => true,
          () => false,
        ),
      );
      await at.close();
    });
  }

  it('concerns only the host, subsystem, port and queue that it names', async () => {
    const at = await story(1);
    for (const rule of [
      { action: 'drop', host: 'nqn.2026-01.org.nvbraid:somebody-else' },
      { action: 'drop', subsystem: 'nqn.2026-01.org.nvbraid:something-else' },
      { action: 'drop', port: 77 },
      { action: 'drop', qid: '9-20' },
      { action: 'drop', opcode: 'get-log-page', qid: '1-2' },
    ] satisfies FaultRule[]) {
      const { id } = at.target.faults.add(rule);
      await at.controller.namespace(1).write(0, block(7));
      equal(await readFirst(at), 7);
      equal(at.target.faults.get(id).hits, 0);
    }
    deepEqual(at.gone, []);
    await at.close();
  });

  it('an ANA group that flaps: commands fail with an ANA status, and the state is back when the fault is removed', async () => {
    const at = await story(1, { maxRetries: 1000 });
    const [port] = at.target.core.ports;
    at.target.faults.add({ action: 'ana-flap', interval: '10ms', state: 'inaccessible' });
    const seen = new Set<number>();
    await until('both states are seen', () => seen.add(port!.anaState(1)).size === 2);
    equal(at.target.faults.clear(), 1);
    equal(port!.anaState(1), 1);
    await until('I/O goes on', () =>
      readFirst(at).then(
        () => true,
        () => false,
      ),
    );
    await at.close();
  });

  it('a storm of events: the host keeps up, and I/O goes on', async () => {
    const at = await story(1);
    const { id } = at.target.faults.add({ action: 'aen-storm', interval: '1ms', event: 'namespace', count: 100 });
    const io = traffic(at, SEED);
    await until('the storm is over', () => at.target.faults.get(id).left === 0);
    await io.stop();
    deepEqual([io.checker.violation, io.failed], [null, 0]);
    deepEqual(at.gone, []);
    await at.close();
  });
});

describe('the list of faults', () => {
  it('shows what is in force as JSON that makes the same again, and refuses what it does not know', async () => {
    const at = await story(0);
    const { faults } = at.target;
    const first = faults.add({ action: 'drop', opcode: 'write', count: 3, host: 'nqn.2026-01.a:b' });
    ok(typeof first.settings.seed === 'number', 'the seed is kept');
    deepEqual(JSON.parse(JSON.stringify(faults.list())), faults.list());
    const again = faults.add(first.rule as FaultRule);
    deepEqual(again.settings, first.settings);
    deepEqual(
      faults.list().map(({ id }) => id),
      [1, 2],
    );
    throws(() => faults.remove(9), /there is no fault 9; there are 1, 2/);
    throws(() => faults.add({ action: 'drop', what: 1 } as FaultRule), /fault: there is no setting "what"/);
    for (let n = 0; n < 62; n++) faults.add({ action: 'drop', port: 99 });
    throws(() => faults.add({ action: 'drop' }), /there are 64 faults already/);
    equal(faults.clear(), 64);
    await at.close();
  });
});

describe('filters of a namespace in service', () => {
  for (const reactors of [0, 2]) {
    it(`a change holds for the next command of every reactor, with ${reactors} reactors`, async () => {
      const at = await story(reactors, {}, [{ kind: 'error', ops: 'none', result: 'no-space' }, { kind: 'stats' }]);
      const namespace = at.controller.namespace(1);
      const filters = at.target.filters(NQN, 1);
      for (let round = 0; round < 200; round++) {
        filters.set('error', { ops: 'write' });
        const results = await Promise.allSettled([0, 1, 2, 3].map((lba) => namespace.write(lba, block(1))));
        deepEqual(
          results.map(({ status }) => status),
          Array(4).fill('rejected'),
          `round ${round}`,
        );
        filters.set('error', { ops: 'none' });
        await Promise.all([0, 1, 2, 3].map((lba) => namespace.write(lba, block(2))));
      }
      const report = filters.get('stats').report as { write: { count: number; errors: number } };
      equal(report.write.count, 800, 'what failed above did not come down to here');
      await at.close();
    });

    it(`a write that is held, and done when it is released, with ${reactors} reactors`, async () => {
      const at = await story(reactors, { ioTimeoutMs: 60_000 }, [{ kind: 'delay' }]);
      const filters = at.target.filters(NQN, 1);
      filters.set('delay', { hold: 'write', count: 1 });
      let ended = false;
      const held = at.controller
        .namespace(1)
        .write(3, block(9))
        .then(() => (ended = true));
      await until('it is held', () => (filters.get('delay').report as { held: number }).held === 1);
      await at.controller.namespace(1).write(4, block(8));
      equal(await readFirst(at, 3), 0);
      equal(ended, false);
      await filters.act('delay', 'release');
      await held;
      equal(await readFirst(at, 3), 9);
      await at.close();
    });

    it(`a write that is held while its association ends is not done afterwards, with ${reactors} reactors`, async () => {
      const at = await story(reactors, {}, [{ kind: 'delay' }]);
      const filters = at.target.filters(NQN, 1);
      filters.set('delay', { hold: 'write', count: 1 });
      await rejects(at.controller.namespace(1).write(3, block(9)), /.*/, 'the host gives up');
      await until('the association is over', () => at.gone.length > 0);
      filters.set('delay', { hold: 'none' });
      await until('the host is back', () =>
        at.controller
          .namespace(1)
          .write(3, block(5))
          .then(
            () => true,
            () => false,
          ),
      );
      await filters.act('delay', 'release');
      await until('nothing is held', () => (filters.get('delay').report as { held: number }).held === 0);
      equal(await readFirst(at, 3), 5, 'what was held came too late');
      await at.close();
    });

    it(`errors, delays and rates that come and go lose nothing, with ${reactors} reactors`, async () => {
      const at = await story(reactors, { ioTimeoutMs: 60_000 }, [
        { kind: 'rate' },
        { kind: 'error', probability: 0.1, seed: SEED },
        { kind: 'delay', write: 'exponential 1ms', read: 'uniform 0 2ms', seed: SEED },
      ]);
      const filters = at.target.filters(NQN, 1);
      const io = traffic(at, SEED);
      for (let n = 0; n < 30; n++) {
        filters.set('rate', { iops: n % 2 === 0 ? 300 : null });
        filters.set('error', { where: n % 3 === 0 ? 'after' : 'before' });
        filters.set('delay', { where: n % 2 === 0 ? 'after' : 'before', hold: n % 5 === 0 ? 'read' : 'none' });
        await pause(20);
      }
      filters.set('delay', { hold: 'none' });
      filters.set('error', { enabled: false });
      await io.stop();
      equal(io.checker.violation, null);
      ok(io.done > 0 && io.failed > 0);
      await at.close();
    });
  }

  for (const reactors of [0, 2]) {
    it(`an overlay is committed under traffic and loses nothing, with ${reactors} reactors`, async () => {
      const at = await story(reactors, { ioTimeoutMs: 60_000 }, [{ kind: 'cow' }]);
      const filters = at.target.filters(NQN, 1);
      const io = traffic(at, SEED);
      for (let n = 0; n < 20; n++) {
        await filters.act('cow', 'commit');
        await pause(5);
      }
      await io.stop();
      deepEqual([io.checker.violation, io.failed], [null, 0]);
      await filters.act('cow', 'commit');
      deepEqual(filters.get('cow').report, { changedBlocks: 0 });
      await at.close();
    });
  }

  for (const damage of ['lost', 'stale', 'flip-read', 'flip-write', 'misdirect', 'tear']) {
    it(`${damage}: the history checker notices`, async () => {
      const at = await story(1, { ioTimeoutMs: 60_000 }, [{ kind: 'corrupt', [damage]: 0.05, seed: SEED }]);
      const io = traffic(at, SEED);
      await until('the checker has noticed', () => io.checker.violation !== null);
      await io.stop();
      await at.close();
    });
  }

  it('says what there is not', async () => {
    const at = await story(0, {}, [{ kind: 'stats' }]);
    throws(() => at.target.filters('nqn.2026-01.no:no', 1), /there is no subsystem/);
    throws(() => at.target.filters(NQN, 5), /has no namespace 5/);
    throws(() => at.target.filters(NQN, 1).set('delay', {}), /no filter "delay"; it has stats/);
    await rejects(at.target.filters(NQN, 1).act('stats', 'release'), /has no action "release"; it has reset/);
    await rejects(at.target.addNamespace(NQN, { device: {} as never, filters: [{ kind: 'slow' }] }), (error: Error) => {
      match(error.message, /there is no filter "slow"/);
      return true;
    });
    await at.close();
  });
});
