import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { lockFile } from '@nvbraid/blockdev';
import { MAX_PEER_LINE_BYTES, MAX_REGISTRY_ENTRIES } from '../src/limits.ts';
import { askPeer, PeerServer } from '../src/peer-socket.ts';
import { type Claim, ProcessRegistry } from '../src/process-registry.ts';

const NQN = 'nqn.2026-01.org.nvbraid:shared';
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-registry-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

let number = 0;
function registry(): ProcessRegistry {
  return new ProcessRegistry(join(scratch, `disk${++number}.img.nvbraid`, 'processes'));
}

const range = (cntlidMin: number, cntlidMax: number, nqn = NQN) => ({ nqn, cntlidMin, cntlidMax });
const entries = ({ directory }: ProcessRegistry): string[] =>
  readdirSync(directory).filter((n) => n.endsWith('.process'));

/** Another process that claims a range and waits for its end. */
async function claimant(directory: string, min: number, max: number) {
  const module = new URL('../src/process-registry.ts', import.meta.url).href;
  const code = `
    const { ProcessRegistry } = await import(${JSON.stringify(module)});
    await new ProcessRegistry(${JSON.stringify(directory)}).claim(${JSON.stringify(range(min, max))});
    console.log('claimed');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

test('ranges of one subsystem must lie apart while their processes live; other subsystems are not concerned', async () => {
  const shared = registry();
  const first = await shared.claim(range(1, 100));
  await assert.rejects(shared.claim(range(100, 200)), {
    code: 'EBUSY',
    message: new RegExp(`process ${process.pid} serves .* controllers 1 to 100, this one would with 100 to 200`),
  });
  const second = await shared.claim(range(101, 200));
  const other = await shared.claim(range(1, 200, `${NQN}:other`));
  const holder = shared.holder(NQN, 100);
  assert.ok(holder.state === 'alive' && holder.entry.id === first.id);
  assert.deepEqual(shared.holder(NQN, 201), { state: 'unknown' }, 'nobody was ever here');
  for (const claim of [first, second, other]) claim.close();
  assert.deepEqual(shared.holder(NQN, 100), { state: 'dead' }, 'an entry without a lock is the proof');
  const again = await shared.claim(range(50, 150));
  assert.deepEqual(entries(shared).length, 2, 'it takes the place of those whose identifiers it claims');
  again.close();
  again.close();
});

test('a process that is killed is dead, whoever has its process number', async () => {
  const shared = registry();
  const child = await claimant(shared.directory, 7, 9);
  assert.equal(shared.holder(NQN, 8).state, 'alive');
  child.kill('SIGSTOP');
  assert.equal(shared.holder(NQN, 8).state, 'alive', 'a process that is stopped may go on');
  await assert.rejects(shared.claim(range(9, 9)), { code: 'EBUSY' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(shared.holder(NQN, 8).state, 'dead');
  // Its number now belongs to somebody who lives: us.
  const text = JSON.stringify({ version: 1, ...range(300, 301), pid: process.pid });
  writeFileSync(join(shared.directory, 'reused.process'), text);
  assert.equal(shared.holder(NQN, 300).state, 'dead');
  (await shared.claim(range(9, 9))).close();
});

test('what a crash in the middle of registering leaves behind is cleared away', async () => {
  const shared = registry();
  (await shared.claim(range(1, 1))).close();
  writeFileSync(join(shared.directory, 'half.new'), '{"version":1,"nq');
  writeFileSync(join(shared.directory, 'torn.process'), '{"version":1,"nq');
  writeFileSync(join(shared.directory, 'torn.sock'), '');
  const claim = await shared.claim(range(2, 2));
  assert.deepEqual(
    readdirSync(shared.directory).filter((name) => /^(half|torn)/.test(name)),
    [],
  );
  claim.close();
});

test('a living process whose entry cannot be read leaves no proof of anything', async () => {
  for (const text of [
    '',
    'nonsense',
    '[]',
    '{"version":2}',
    `"${'x'.repeat(5000)}"`,
    JSON.stringify({ version: 1, ...range(-1, 5), pid: 1 }),
  ]) {
    const shared = registry();
    mkdirSync(shared.directory, { recursive: true });
    const path = join(shared.directory, 'strange.process');
    writeFileSync(path, text);
    const fd = openSync(path, 'r+');
    assert.equal(lockFile(fd, 'exclusive'), 'taken');
    assert.throws(() => shared.holder(NQN, 5), { code: 'EIO', message: /a living process .* cannot be read/ });
    await assert.rejects(shared.claim(range(1, 1)), { code: 'EBUSY', message: /strange\.process of a living process/ });
    closeSync(fd);
    assert.deepEqual(shared.holder(NQN, 5), { state: 'unknown' }, 'once it is dead it does not matter');
  }
});

test('one that registers waits for another who does, and says so when that one is stuck', async () => {
  const shared = registry();
  (await shared.claim(range(1, 1))).close();
  const fd = openSync(join(shared.directory, 'registry.lock'), 'r+');
  assert.equal(lockFile(fd, 'exclusive'), 'taken');
  const waits = shared.claim(range(2, 2));
  const stuck = shared.claim(range(3, 3), 40);
  await assert.rejects(stuck, { code: 'EBUSY', message: /registering for too long: is it stopped/ });
  closeSync(fd);
  (await waits).close();
});

test('claims at the same time: of those that overlap one succeeds', async () => {
  const shared = registry();
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => shared.claim(range(1, 10))));
  const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
  assert.equal(won.length, 1);
  (won[0] as PromiseFulfilledResult<Claim>).value.close();
});

test('a registry that is a file, or cannot be made, is told of', async () => {
  const path = join(scratch, 'file');
  writeFileSync(path, '');
  await assert.rejects(new ProcessRegistry(path).claim(range(1, 1)), { code: 'EIO', message: /registry of processes/ });
  assert.throws(() => new ProcessRegistry(join(scratch, 'nowhere')).holder(NQN, 1), { code: 'EIO' });
});

test('dead entries do not add up', async () => {
  const shared = registry();
  mkdirSync(shared.directory, { recursive: true });
  for (let i = 0; i < MAX_REGISTRY_ENTRIES + 5; i++) {
    const text = JSON.stringify({ version: 1, ...range(1000 + i, 1000 + i), pid: 1 });
    writeFileSync(join(shared.directory, `${i}.process`), text);
  }
  (await shared.claim(range(1, 1))).close();
  assert.equal(entries(shared).length, MAX_REGISTRY_ENTRIES);
});

// ---------------------------------------------------------------- the socket

test('a process answers requests that it understands, and hangs up on everything else', async () => {
  const directory = join(scratch, 'x'.repeat(120)); // longer than the address of a socket can be
  mkdirSync(directory);
  const asked: string[] = [];
  let end = (_fate: 'quiet'): void => {};
  const server = await PeerServer.listen(directory, 'a', ({ instance, host }, done) => {
    asked.push(`${instance.cntlid} ${instance.ciu} ${instance.cirn} ${host.hostnqn} ${host.hostid}`);
    end = done;
  });
  const request = {
    instance: { cntlid: 65535, ciu: 255, cirn: 0xffffffffffffffffn },
    host: { hostnqn: 'nqn.a', hostid: 'id' },
  };
  const { promise, resolve } = Promise.withResolvers<string | null>();
  askPeer(directory, 'a', request, resolve);
  while (asked.length === 0) await new Promise((wake) => setImmediate(wake));
  end('quiet');
  assert.equal(await promise, 'quiet');
  assert.deepEqual(asked, ['65535 255 18446744073709551615 nqn.a id']);
  const { directoryFd, address } = openAddress(directory);
  const strange = [
    '\n',
    'nonsense\n',
    '{}\n',
    'null\n',
    '{"icid":70000,"ciu":1,"cirn":"1","hostnqn":"a","hostid":"b"}\n',
  ];
  strange.push('{"icid":1,"ciu":1,"cirn":"0x1","hostnqn":"a","hostid":"b"}\n', 'y'.repeat(MAX_PEER_LINE_BYTES + 1));
  for (const line of strange) {
    const socket = connect(address);
    socket.on('error', () => {});
    socket.write(line);
    await once(socket, 'close');
  }
  assert.equal(asked.length, 1);
  closeSync(directoryFd);
  const left = Promise.withResolvers<string | null>();
  askPeer(directory, 'a', request, left.resolve);
  while (asked.length === 1) await new Promise((wake) => setImmediate(wake));
  await server.close();
  assert.equal(await left.promise, null, 'who closes without an answer has given none');
  const nobody = Promise.withResolvers<string | null>();
  askPeer(directory, 'a', request, nobody.resolve);
  assert.equal(await nobody.promise, null);
  assert.equal(existsSync(join(directory, 'a.sock')), false);
});

function openAddress(directory: string): { directoryFd: number; address: string } {
  const directoryFd = openSync(directory, 'r');
  return { directoryFd, address: `/proc/self/fd/${directoryFd}/a.sock` };
}
