import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { memoryDevice } from '@nvbraid/blockdev';
import { transports } from '@nvbraid/transport';
import { connectSubsystem, createTarget, type SubflowChange, type Target } from 'nvbraid';

const NQN = 'nqn.2026-01.io.nvbraid:test:subflows';
const skip = transports.mptcp!.unsupported() ?? false;
if (skip !== false) console.log(`# left out: ${skip}`);

async function targetWith(reactors: number): Promise<Target> {
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: 1 << 20, blockSize: 512 }) });
  return target;
}

function mirrored({ local, remote }: { local: object; remote: object }): object {
  return { local: remote, remote: local };
}

for (const reactors of [0, 1, 2]) {
  describe(`subflows, ${reactors} reactors`, { skip, timeout: 60_000 }, () => {
    test('host and target tell of the same connections, each from its end', async () => {
      const target = await targetWith(reactors);
      try {
        const port = await target.listen({ transport: 'mptcp', address: '127.0.0.1', port: 0, subsystems: [NQN] });
        const place = { transport: 'mptcp', traddr: '127.0.0.1', trsvcid: port.port };
        const host = await connectSubsystem({ ...place, nqn: NQN, nrIoQueues: 3 });
        await host.head(1).write(0, Buffer.alloc(8192, 1));
        const ours = host.subflows();
        const theirs = await target.subflows();
        assert.deepEqual(
          ours.map(({ controller, qid, fallback, count }) => [controller, qid, fallback, count]),
          [0, 1, 2, 3].map((qid) => ['nvme1', qid, false, 1]),
        );
        assert.deepEqual(
          theirs.map(({ subnqn, hostnqn, cntlid, portid, qid }) => [subnqn, hostnqn, cntlid, portid, qid]),
          [0, 1, 2, 3].map((qid) => [NQN, host.controllers[0]!.hostnqn, 1, port.portid, qid]),
        );
        for (const [i, { subflows }] of ours.entries()) {
          const [mine, other] = [subflows[0]!, theirs[i]!.subflows[0]!];
          assert.deepEqual(mirrored(mine), { local: other.local, remote: other.remote });
          assert.equal(mine.bytesSent, other.bytesReceived);
          assert.equal(mine.remote.port, port.port);
        }
        const written = ours.map(({ subflows }) => subflows[0]!.bytesSent);
        assert.equal(written.filter((bytes) => bytes > 8192).length, 1, `one queue has the data: ${written}`);
        // Nobody has to know which of them are backups.
        assert.deepEqual(
          host.subflows(false).map(({ subflows }) => subflows[0]!.backup),
          [null, null, null, null],
        );
        await host.disconnect();
        assert.deepEqual(host.subflows(), []);
        while ((await target.subflows()).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
      } finally {
        await target.close();
      }
      assert.deepEqual(await target.subflows(), []);
    });

    test('connections that come and go while they are asked for are never taken for others', async () => {
      const target = await targetWith(reactors);
      const port = await target.listen({ transport: 'mptcp', address: '127.0.0.1', port: 0, subsystems: [NQN] });
      let asking = true;
      const seen = new Map<string, string>();
      const asked = (async () => {
        while (asking) {
          for (const { connection, cntlid, qid, subflows } of await target.subflows()) {
            const key = `${cntlid}/${qid} ${subflows[0]?.remote.port}`;
            // A connection belongs to one queue for as long as it lives, and has an end at our port.
            assert.equal(seen.get(connection) ?? key, key);
            seen.set(connection, key);
            for (const { local } of subflows) assert.equal(local.port, port.port);
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      try {
        for (let round = 0; round < 5; round++) {
          const place = { transport: 'mptcp', traddr: '127.0.0.1', trsvcid: port.port };
          const hosts = await Promise.all([1, 2, 3].map(() => connectSubsystem({ ...place, nqn: NQN, nrIoQueues: 2 })));
          await Promise.all(hosts.map((host) => host.disconnect()));
        }
      } finally {
        asking = false;
        await asked;
        await target.close();
      }
      assert.ok(seen.size > 0);
    });

    test('a host that speaks TCP alone is told of as fallen back, where the port takes it', async () => {
      const target = await targetWith(reactors);
      try {
        const where = { transport: 'mptcp', address: '127.0.0.1', port: 0, allowFallback: true };
        const port = await target.listen({ ...where, subsystems: [NQN] });
        const told = Promise.withResolvers<void>();
        const events: SubflowChange[] = [];
        target.subflowWatch.on('changes', (changes) => {
          events.push(...changes);
          if (events.length >= 2) told.resolve();
        });
        const host = await connectSubsystem({ traddr: '127.0.0.1', trsvcid: port.port, nqn: NQN, nrIoQueues: 1 });
        await told.promise;
        assert.deepEqual(
          events.map(({ event, queue }) => [event, queue.qid]),
          [
            ['fallback', 0],
            ['fallback', 1],
          ],
        );
        assert.deepEqual(host.subflows(), []); // its own transport has none
        assert.deepEqual(
          (await target.subflows()).map(({ fallback, subflows }) => [fallback, subflows.length]),
          [
            [true, 1],
            [true, 1],
          ],
        );
        await host.disconnect();
      } finally {
        await target.close();
      }
    });
  });
}

test('a target that speaks TCP alone: the host has fallen back', { skip }, async () => {
  const target = await targetWith(1);
  try {
    const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
    const place = { transport: 'mptcp', traddr: '127.0.0.1', trsvcid: port.port };
    const host = await connectSubsystem({ ...place, nqn: NQN, nrIoQueues: 1 });
    assert.deepEqual(
      host.subflows().map(({ qid, fallback, count }) => [qid, fallback, count]),
      [
        [0, true, 1],
        [1, true, 1],
      ],
    );
    const changes = await new Promise<readonly SubflowChange[]>((resolve) => {
      host.subflowWatch.once('changes', resolve);
    });
    assert.deepEqual(
      changes.map(({ event, queue }) => [event, queue.qid]),
      [
        ['fallback', 0],
        ['fallback', 1],
      ],
    );
    assert.deepEqual(await target.subflows(), []);
    await host.disconnect();
  } finally {
    await target.close();
  }
});

test('a reactor that dies while it is asked has no answer, and keeps nobody waiting', { skip }, async () => {
  const target = await targetWith(1);
  try {
    const port = await target.listen({ transport: 'mptcp', address: '127.0.0.1', port: 0, subsystems: [NQN] });
    const place = { transport: 'mptcp', traddr: '127.0.0.1', trsvcid: port.port };
    const host = await connectSubsystem({ ...place, nqn: NQN, nrIoQueues: 2, reconnectDelay: 0.1 });
    assert.equal((await target.subflows()).length, 3);
    const failed = new Promise<string>((resolve) => target.once('log', resolve));
    // A snapshot that no reactor can take: a programmer error, as far as the reactor is concerned.
    const subsystem = target.core.subsystem(NQN)!;
    const good = subsystem.snapshot.bind(subsystem);
    subsystem.snapshot = () => null as unknown as ReturnType<typeof good>;
    subsystem.setReadOnly(1, true);
    subsystem.snapshot = good;
    const qids = (await target.subflows()).map(({ qid }) => qid);
    assert.deepEqual(qids, [0]);
    assert.match(await failed, /reactor 0 failed/);
    await host.disconnect();
  } finally {
    await target.close();
  }
});
