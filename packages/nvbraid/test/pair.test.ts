import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import { AnaState, AsyncEventNotice, AsyncEventType, Fes, Status } from '@nvbraid/wire';
import { type Direction, Pair, type PairLink, type PairOptions, pairDevice } from '../src/pair.ts';

function bytes(length: number, seed: number): Uint8Array {
  const data = new Uint8Array(length);
  new Rng(seed).fill(data);
  return data;
}

/** Writes and reads back, so that nobody has to believe that the path works. */
function works(pair: Pair, seed = 1): void {
  for (const blocks of [1, 16, 40, 256]) {
    const data = bytes(blocks * 512, seed + blocks);
    const written = pair.write(7, data);
    pair.drive();
    assert.deepEqual([written.ended, written.status], [true, 0], `write of ${blocks} blocks`);
    const read = pair.read(7, blocks);
    pair.drive();
    assert.deepEqual([read.ended, read.status], [true, 0], `read of ${blocks} blocks`);
    assert.deepEqual(read.data, data);
  }
}

// ------------------------------------------------------------------ handshakes

const HANDSHAKES: [string, PairOptions][] = [
  ['nothing special', {}],
  ['header digest', { host: { hdrDigest: true } }],
  ['data digest', { host: { dataDigest: true } }],
  [
    'both digests, data aligned to 128 bytes both ways',
    { host: { hdrDigest: true, dataDigest: true, hpda: 31 }, queue: { cpda: 31 } },
  ],
  ['SQ flow control disabled', { host: { disableSqflow: true } }],
  ['four queues', { host: { nrIoQueues: 4 } }],
  ['a tiny queue', { host: { queueSize: 2 } }],
  ['many small R2Ts, one at a time', { host: { maxR2t: 1 }, queue: { r2tBytes: 4096 } }],
  ['many small R2Ts, sixteen at a time', { host: { maxR2t: 16 }, queue: { r2tBytes: 4096 } }],
  ['small H2CData', { queue: { maxH2CDataBytes: 4096 } }],
];
for (const [what, options] of HANDSHAKES) {
  test(`handshake and I/O: ${what}`, () => {
    for (const seed of [undefined, 1, 2, 3]) {
      const pair = new Pair({ ...options, ...(seed === undefined ? {} : { seed }) }).connect();
      assert.deepEqual(pair.hosts[0]!.states, ['connecting', 'live'], pair.host.error?.message);
      works(pair);
      pair.host.remove();
      pair.drive();
      assert.equal(pair.host.state, 'dead');
      assert.equal(pair.target.controllerCount, 0);
      assert.ok(pair.links.every((link) => !link.open));
    }
  });
}

test('the controller grants fewer queues than were asked for', () => {
  const pair = new Pair({ subsystem: { maxIoQueues: 2 }, host: { nrIoQueues: 8 } }).connect();
  assert.equal(pair.host.ioQueues.length, 2);
  works(pair);
});

test('Connect refused: unknown subsystem, host not allowed, SQ of a wrong size', () => {
  const stories: [PairOptions, RegExp, boolean][] = [
    [{ host: { nqn: 'nqn.2014-08.org.example:nobody' } }, /Connect Invalid Parameters/, true],
    [{ subsystem: { allowAnyHost: false } }, /Connect Invalid Host/, true],
  ];
  for (const [options, message, dnr] of stories) {
    const pair = new Pair(options).connect();
    assert.deepEqual(pair.hosts[0]!.states, ['connecting', 'dead']);
    assert.ok(pair.host.error instanceof NvmeError);
    assert.match(pair.host.error.message, message);
    assert.equal(pair.host.error.dnr, dnr);
    assert.ok(pair.links.every((link) => !link.open));
  }
});

test('digests that the target does not allow', () => {
  const pair = new Pair({ host: { hdrDigest: true }, queue: { allowHdgst: false } }).connect();
  assert.equal(pair.host.state, 'dead');
  assert.equal(pair.host.error?.code, 'EPROTO');
});

test('nobody listens', () => {
  const pair = new Pair();
  pair.hosts[0]!.unreachable = true;
  pair.connect();
  assert.deepEqual(pair.hosts[0]!.states, ['connecting', 'dead']);
  assert.equal(pair.host.error?.code, 'ECONNREFUSED');
});

test('a target that accepts and says nothing', () => {
  const pair = new Pair({ onLink: (link) => link.stall('toHost') }).connect();
  assert.equal(pair.host.state, 'connecting');
  assert.ok(pair.runUntil(() => pair.host.state === 'dead', 60_000));
  assert.equal(pair.host.error?.code, 'ETIMEDOUT');
});

// ------------------------------------------------------------------ the connection breaks anywhere

/** Bytes of a quiet session, in both directions, by connection. */
function lengthOfSession(): Record<Direction, number>[] {
  const pair = new Pair().connect();
  works(pair);
  pair.host.remove();
  pair.drive();
  return pair.links.map((link) => ({ toTarget: link.toTarget.delivered, toHost: link.toHost.delivered }));
}

test('the connection breaks after any number of bytes: every command ends once, the host comes back', (t) => {
  const lengths = lengthOfSession();
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  t.diagnostic(`SEED=${seed}`);
  const rng = new Rng(seed);
  for (let round = 0; round < 60; round++) {
    const broken = rng.below(lengths.length);
    const direction: Direction = rng.chance(0.5) ? 'toTarget' : 'toHost';
    const at = rng.between(1, lengths[broken]![direction]);
    let made = 0;
    const pair = new Pair({
      seed: rng.u32(),
      host: { reconnectDelayMs: 1000 },
      onLink: (link) => {
        if (made++ === broken) link[direction].dropAt = at;
      },
    });
    pair.connect();
    const commands = [];
    for (let n = 0; pair.host.state === 'live' && n < 8; n++) {
      commands.push(pair.write(n * 64, bytes(64 * 512, n)), pair.read(n * 64, 64));
      pair.drive();
    }
    for (const command of commands) {
      assert.ok(command.ended, `round ${round}`);
      assert.ok(command.status === 0 || command.status === Status.HostPathingError, `status ${command.status}`);
    }
    if (!pair.hosts[0]!.states.includes('live')) {
      assert.deepEqual(pair.hosts[0]!.states, ['connecting', 'dead'], 'the first attempt is the only one');
      continue;
    }
    assert.ok(
      pair.runUntil(() => pair.host.state === 'live', 20_000),
      `round ${round}: ${pair.hosts[0]!.states}`,
    );
    works(pair, round);
    pair.host.remove();
    pair.run(70_000);
    assert.equal(pair.host.state, 'dead');
    assert.equal(pair.target.controllerCount, 0, 'nothing is left over in the target');
  }
});

test('any byte arrives damaged: with digests no wrong data is ever taken for right', (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  t.diagnostic(`SEED=${seed}`);
  const rng = new Rng(seed);
  const outcomes = { unnoticed: 0, transient: 0, path: 0 };
  for (let round = 0; round < 80; round++) {
    const direction: Direction = rng.chance(0.5) ? 'toTarget' : 'toHost';
    const pair = new Pair({
      seed: rng.u32(),
      host: { hdrDigest: true, dataDigest: true, ioTimeoutMs: 2000 },
    }).connect();
    assert.equal(pair.host.state, 'live');
    const data = bytes(64 * 512, round);
    const before = pair.write(0, data);
    pair.drive();
    assert.equal(before.status, 0);
    const link = pair.link(1);
    const wire = link[direction];
    // Headers are few among all the bytes: half of the rounds aim at the first ones.
    wire.corruptAt = wire.delivered + rng.below(rng.chance(0.5) ? 60 : direction === 'toTarget' ? 20_000 : 34_000);
    const fresh = bytes(32 * 512, round + 1000);
    const written = pair.write(64, fresh);
    pair.drive();
    const read = pair.read(0, 64);
    assert.ok(pair.runUntil(() => written.ended && read.ended, 100_000));
    for (const { status } of [written, read]) {
      if (status === Status.TransientTransportError) outcomes.transient++;
      else if (status === Status.HostPathingError) outcomes.path++;
      else assert.equal(status, 0, `status ${status.toString(16)}`);
    }
    if (written.status === 0 && read.status === 0) outcomes.unnoticed++;
    if (read.status === 0) assert.deepEqual(read.data, data);
    if (written.status !== 0) continue;
    assert.ok(pair.runUntil(() => pair.host.state === 'live', 100_000));
    const back = pair.read(64, 32);
    assert.ok(pair.runUntil(() => back.ended, 100_000));
    if (back.status === 0) assert.deepEqual(back.data, fresh);
  }
  t.diagnostic(JSON.stringify(outcomes));
  assert.ok(outcomes.transient > 0 && outcomes.path > 0, 'both kinds of damage were met');
});

// ------------------------------------------------------------------ time

test('a stalled I/O queue: Abort after the timeout, reset after another one, then back to work', () => {
  const pair = new Pair({ host: { ioTimeoutMs: 3000, reconnectDelayMs: 1000 } }).connect();
  pair.link(1).stall('toHost');
  const read = pair.read(0, 8);
  pair.run(2999);
  assert.equal(pair.link(0).host.commandsSent, pair.link(0).host.commandsCompleted + pair.link(0).host.outstanding);
  const before = pair.link(0).host.commandsSent;
  pair.run(2);
  assert.equal(pair.link(0).host.commandsSent, before + 1, 'Abort');
  assert.equal(pair.host.state, 'live');
  assert.equal(read.ended, false);
  pair.run(3000);
  assert.deepEqual([read.ended, read.status], [true, Status.HostPathingError]);
  assert.ok(pair.runUntil(() => pair.host.state === 'live', 5000));
  assert.equal(pair.host.resets, 1);
  works(pair);
});

test('what a queue has not delivered when it is given up never arrives', () => {
  for (const seed of [undefined, 1, 2, 3]) {
    const pair = new Pair({
      host: { ioTimeoutMs: 3000, reconnectDelayMs: 1000, keepAliveMs: 0 },
      ...(seed === undefined ? {} : { seed }),
    }).connect();
    // The whole path is stuck: that the admin queue is gone does not reach the target either.
    const [admin, old] = [pair.link(0), pair.link(1)];
    admin.stall('toTarget');
    old.stall('toTarget');
    const first = pair.write(7, bytes(4096, 1));
    assert.ok(pair.runUntil(() => first.ended, 7000));
    assert.deepEqual([first.status, old.toTarget.length], [Status.HostPathingError, 0]);
    assert.ok(pair.runUntil(() => pair.host.state === 'live', 5000));
    const last = bytes(4096, 2);
    pair.write(7, bytes(4096, 1));
    pair.write(7, last);
    pair.drive();
    admin.resume();
    old.resume();
    pair.run(1000);
    const read = pair.read(7, 8);
    pair.drive();
    assert.deepEqual(read.data, last);
  }
});

test('an admin command that is not answered resets the controller at once', () => {
  const pair = new Pair({ host: { adminTimeoutMs: 4000, keepAliveMs: 0 } }).connect();
  pair.link(0).stall('toHost');
  pair.subsystem.addNamespace({ device: pairDevice(), blockSize: 512, blockCount: 8192 });
  pair.drive();
  pair.link(0).resume();
  pair.link(0).stall('toTarget');
  pair.drive();
  assert.equal(pair.host.state, 'live', 'the event has arrived, the question about it has not');
  pair.run(4001);
  assert.deepEqual(pair.hosts[0]!.states.slice(0, 4), ['connecting', 'live', 'resetting', 'connecting']);
});

test('Keep Alive: both sides notice a dead path, and a quiet live one stays', () => {
  const pair = new Pair({ host: { keepAliveMs: 2000, reconnectDelayMs: 1000 } }).connect();
  pair.run(600_000);
  assert.deepEqual(pair.hosts[0]!.states, ['connecting', 'live']);
  pair.link(0).stall();
  pair.link(1).stall();
  const read = pair.read(0, 8);
  assert.ok(
    pair.runUntil(() => read.ended, 3500),
    'found out by Keep Alive, long before the I/O timeout',
  );
  assert.equal(read.status, Status.HostPathingError);
  assert.ok(pair.runUntil(() => pair.host.state === 'live', 5000));
  works(pair);
  pair.run(10_000);
  assert.equal(pair.target.controllerCount, 1, 'the old controller is gone');
});

test('a host that falls silent loses its controller', () => {
  const pair = new Pair({ host: { keepAliveMs: 2000 } }).connect();
  pair.link(0).stall('toTarget');
  pair.link(1).stall('toTarget');
  assert.ok(pair.runUntil(() => pair.target.controllerCount === 0, 5000));
});

test('reconnect-delay and ctrl-loss-tmo: tries as often as told, then gives up', () => {
  const pair = new Pair({ host: { reconnectDelayMs: 10_000, ctrlLossTmoMs: 60_000 } }).connect();
  pair.run(20_000);
  pair.hosts[0]!.unreachable = true;
  const links = pair.links.length;
  pair.link(0).drop();
  assert.equal(pair.host.state, 'connecting');
  const read = pair.read(0, 1);
  assert.deepEqual([read.ended, read.status], [true, Status.HostPathingError], 'nothing waits in the core');
  pair.run(59_000);
  assert.equal(pair.host.state, 'connecting');
  pair.run(2000);
  assert.equal(pair.host.state, 'dead');
  assert.equal(pair.host.error?.code, 'ECONNREFUSED');
  assert.equal(pair.links.length, links);
});

test('a lost controller comes back when the target does, with its namespaces', () => {
  const pair = new Pair().connect();
  pair.run(20_000);
  pair.hosts[0]!.unreachable = true;
  for (const link of [pair.link(0), pair.link(1)]) link.drop();
  pair.run(25_000);
  pair.subsystem.addNamespace({ device: pairDevice(1 << 20, 4096), blockSize: 4096, blockCount: 256 });
  pair.hosts[0]!.unreachable = false;
  assert.ok(pair.runUntil(() => pair.host.state === 'live', 10_001));
  assert.deepEqual([pair.host.resets, pair.host.reconnects], [1, 1]);
  pair.drive();
  assert.deepEqual([...pair.host.namespaces.keys()], [1, 2]);
  assert.equal(pair.host.namespaces.get(2)!.blockSize, 4096);
  works(pair);
});

test('a controller that is lost again and again is not hurried', () => {
  let made = 0;
  const pair = new Pair({
    host: { reconnectDelayMs: 5000, ctrlLossTmoMs: Number.POSITIVE_INFINITY },
    onLink: () => made++,
  }).connect();
  for (let i = 0; i < 5; i++) {
    pair.link(0).drop();
    assert.ok(pair.runUntil(() => pair.host.state === 'live', 60_000));
  }
  assert.ok(pair.clock.nowMs() >= 1000 + 5 * 5000, `after ${pair.clock.nowMs()} ms`);
  assert.equal(made, 12);
});

test('Connect refused for good while connecting again: no further attempt', () => {
  const pair = new Pair().connect();
  pair.run(20_000);
  pair.subsystem.setAllowAnyHost(false);
  pair.drive();
  assert.equal(pair.host.state, 'connecting');
  pair.run(1);
  assert.deepEqual(pair.hosts[0]!.states.slice(-3), ['resetting', 'connecting', 'dead']);
  assert.ok(pair.host.error instanceof NvmeError && pair.host.error.dnr);
});

// ------------------------------------------------------------------ what the controller tells

test('namespaces come, go and change: the host hears of it and looks again', () => {
  const pair = new Pair({ seed: 4 }).connect();
  const nsid = pair.addNamespace(pairDevice(1 << 20, 4096));
  pair.drive();
  assert.equal(pair.host.namespaces.get(nsid)?.blockCount, 256);
  pair.subsystem.resizeNamespace(nsid, 128);
  pair.drive();
  assert.equal(pair.host.namespaces.get(nsid)?.blockCount, 128);
  pair.subsystem.setReadOnly(1, true);
  pair.drive();
  assert.equal(pair.host.namespaces.get(1)?.readOnly, true);
  pair.subsystem.removeNamespace(nsid);
  pair.drive();
  assert.equal(pair.host.namespaces.has(nsid), false);
  const notices = pair.hosts[0]!.events;
  assert.ok(notices.length >= 4);
  for (const event of notices) {
    assert.equal(event.type, AsyncEventType.Notice);
    assert.equal(event.info, AsyncEventNotice.NamespaceAttributeChanged);
  }
});

test('ANA states change: the host hears of every change and knows the new state', () => {
  const pair = new Pair({ seed: 5 }).connect();
  assert.equal(pair.host.anaLog?.groups[0]?.state, AnaState.Optimized);
  for (const state of [AnaState.NonOptimized, AnaState.Inaccessible, AnaState.Optimized]) {
    pair.port.setAnaState(1, state);
    pair.drive();
    assert.equal(pair.host.anaLog?.groups[0]?.state, state);
  }
  assert.equal(pair.hosts[0]!.events.length, 3);
});

test('two hosts see what the other one writes', () => {
  const pair = new Pair({ seed: 9 }).connect();
  const other = pair.addHost({ hdrDigest: true, dataDigest: true });
  pair.connect(other);
  assert.equal(pair.target.controllerCount, 2);
  const data = bytes(4096, 5);
  pair.write(0, data);
  pair.drive();
  const read = pair.read(0, 8, other.core);
  pair.drive();
  assert.deepEqual(read.data, data);
  other.core.remove();
  pair.drive();
  assert.equal(pair.target.controllerCount, 1);
});

test('the subsystem is removed under I/O: path errors, then no way back', () => {
  const pair = new Pair({ seed: 3 }).connect();
  pair.run(20_000);
  const commands = Array.from({ length: 20 }, (_, i) => pair.read(i, 8));
  pair.target.removeSubsystem(pair.subsystem.nqn);
  pair.run(1);
  assert.ok(commands.every((command) => command.ended));
  assert.equal(pair.host.state, 'dead');
  assert.equal(pair.target.controllerCount, 0);
});

test('fatal errors are told to the peer before the connection is closed', () => {
  const pair = new Pair({ host: { hdrDigest: true } }).connect();
  const link: PairLink = pair.link(1);
  link.toTarget.corruptAt = link.toTarget.delivered + 20;
  const read = pair.read(0, 8);
  pair.drive();
  assert.equal(read.status, Status.HostPathingError);
  assert.equal(link.target.fatalFes, Fes.HeaderDigestError);
  assert.match(pair.host.error!.message, /ended the connection: Header Digest Error/);
  const back = new Pair({ host: { hdrDigest: true } }).connect();
  // On the admin queue: the target closes the I/O queues itself when that one goes, perhaps before it has read all.
  const other = back.link(0);
  other.toHost.corruptAt = other.toHost.delivered + 20;
  back.run(5500); // the first Keep Alive comes when half a timeout has passed without a command
  assert.match(back.host.error!.message, /broke the protocol: Header Digest Error/);
  assert.equal(other.target.fatalFes, Fes.HeaderDigestError, 'the target has heard why');
});

test('payload memory of the target runs out: commands wait, none is lost', () => {
  const pair = new Pair({
    seed: 11,
    poolBytes: 128 << 10,
    host: { queueSize: 64 },
  }).connect();
  const data = Array.from({ length: 40 }, (_, i) => bytes(64 * 512, i));
  const written = data.map((piece, i) => pair.write(i * 64, piece));
  pair.drive();
  assert.ok(written.every((command) => command.ended && command.status === 0));
  const read = data.map((_, i) => pair.read(i * 64, 64));
  pair.drive();
  for (const [i, command] of read.entries()) assert.deepEqual(command.data, data[i]);
  assert.equal(pair.pool.loanedBytes, 0);
});

test('the same seed gives the same run', () => {
  const trace = (): string => {
    const pair = new Pair({ seed: 77, host: { hdrDigest: true } });
    pair.connect();
    works(pair);
    return JSON.stringify([
      pair.rng!.u32(),
      pair.links.map((link) => [link.toHost.delivered, link.toTarget.delivered]),
    ]);
  };
  assert.equal(trace(), trace());
});
