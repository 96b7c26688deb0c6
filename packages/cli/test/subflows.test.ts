import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ok } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';
import { TwoLinks } from './support/two-links.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:subflows';
const skip = TwoLinks.missing();
if (skip !== false) console.log(`# left out: ${skip}`);

interface Subflow {
  readonly Local: string;
  readonly Remote: string;
  readonly State: string;
  readonly Stale: boolean;
  readonly Backup: boolean | null;
  readonly BytesSent: number;
  readonly BytesReceived: number;
}

interface Queue {
  readonly QID: number;
  readonly Fallback: boolean | null;
  readonly SubflowCount: number;
  readonly Subflows: readonly Subflow[];
}

interface Path {
  readonly State: string;
  readonly Queues?: readonly Queue[];
}

/** A running connect or serve whose output is JSON. */
class Running {
  readonly cli: Cli;
  readonly socket: string;

  constructor(cli: Cli, socket: string) {
    this.cli = cli;
    this.socket = socket;
  }

  get events(): Record<string, unknown>[] {
    return this.cli.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** What was told of subflows, as `CHANGE QID ADDRESS -> ADDRESS`. */
  get subflowEvents(): string[] {
    return this.events
      .filter(({ event }) => event === 'subflow')
      .map(({ change, qid, subflow }) => `${change} ${qid} ${String(subflow).replace(/:\d+/g, '')}`);
  }

  /** Waits until it has told all of it. */
  async told(...expected: string[]): Promise<void> {
    for (let tries = 0; tries < 300; tries++) {
      const told = new Set(this.subflowEvents);
      if (expected.every((one) => told.has(one))) return;
      await sleep(100);
    }
    assert.fail(`not told: ${expected.join(', ')}; but\n${this.cli.out}\n${this.cli.err}`);
  }
}

describe('subflows of Multipath TCP', { concurrency: false, skip, timeout: 240_000 }, () => {
  const sandbox = new Sandbox();
  let links: TwoLinks;
  let serve: Running;
  let connect: Running;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  async function start(side: string, name: string, argv: readonly string[]): Promise<Running> {
    const socket = sandbox.file(`${name}.sock`);
    const cli = sandbox.start([...argv, '-o', 'json', '--socket', socket], links.on(side));
    await cli.printed(/"event":"(connected|serving)"/);
    return new Running(cli, socket);
  }

  async function startServe(name: string, transport: string, port: number): Promise<Running> {
    const where = ['-t', transport, '-a', '10.1.1.1', '-s', String(port), '--no-discovery'];
    return start(links.target, name, ['serve', '--memory', '--size', '64MiB', '-n', NQN, ...where]);
  }

  function startConnect(name: string, transport: string, port: number): Promise<Running> {
    const where = ['-t', transport, '-a', '10.1.1.1', '-s', String(port)];
    return start(links.host, name, ['connect', '-D', '-n', NQN, '-i', '2', ...where]);
  }

  async function pathOf({ socket }: Running): Promise<Path> {
    const hosts = JSON.parse(await ok('list-subsys', '-v', '-o', 'json', '--socket', socket)) as [
      { Subsystems: [{ Paths: [Path] }] },
    ];
    return hosts[0].Subsystems[0].Paths[0];
  }
  /** Writes a MiB, which all goes by one I/O queue. */
  async function write(): Promise<void> {
    const cli = sandbox.start(['write', '--socket', connect.socket, '-z', '1MiB', '-d', '/dev/zero']);
    assert.equal(await cli.exit(), 0, cli.err);
  }
  function sent({ Queues = [] }: Path): number {
    return Queues.flatMap(({ Subflows }) => Subflows).reduce((sum, { BytesSent }) => sum + BytesSent, 0);
  }

  before(async () => {
    links = new TwoLinks();
    links.secondAddress('add', 'backup');
    serve = await startServe('serve', 'mptcp', 4420);
    connect = await startConnect('connect', 'mptcp', 4420);
  });
  after(async () => {
    await sandbox.close();
    links?.close();
  });

  test('both ends tell of the subflows that were added', async () => {
    await connect.told(...[0, 1, 2].map((qid) => `added ${qid} 10.1.2.2 -> 10.1.1.1`));
    await serve.told(...[0, 1, 2].map((qid) => `added ${qid} 10.1.1.1 -> 10.1.2.2`));
    const first = serve.events.find(({ event }) => event === 'subflow')!;
    assert.deepEqual([first.subnqn, first.cntlid], [NQN, 1]);
  });

  test('list-subsys -v names the addresses of each queue, and what it has carried', async () => {
    const path = await pathOf(connect);
    assert.deepEqual(
      path.Queues!.map(({ QID, Fallback, SubflowCount }) => [QID, Fallback, SubflowCount >= 2]),
      [0, 1, 2].map((qid) => [qid, false, true]),
    );
    for (const { Subflows } of path.Queues!) {
      assert.match(Subflows[0]!.Local, /^10\.1\.1\.2:\d+$/);
      assert.equal(Subflows[0]!.Remote, '10.1.1.1:4420');
      assert.match(Subflows[1]!.Local, /^10\.1\.2\.2:\d+$/);
      assert.deepEqual(
        Subflows.map(({ State, Backup, Stale }) => `${State} ${Backup} ${Stale}`),
        Subflows.map((_, i) => `established ${i > 0} false`),
      );
    }
    const text = await ok('list-subsys', '-v', '--socket', connect.socket);
    assert.match(text, /^ {6}queue 1: [2-8] subflows$/m);
    assert.match(text, /^ {8}10\.1\.1\.2:\d+ -> 10\.1\.1\.1:4420 {2,}sent \S+ \S+, received \S+ \S+, rtt \S+ \S+s/m);
    assert.match(text, /^ {8}10\.1\.2\.2:\d+ -> .* backup$/m);
    assert.doesNotMatch(await ok('list-subsys', '--socket', connect.socket), /queue 1/);
  });

  test('bytes are counted where they go', async () => {
    const before = await pathOf(connect);
    await write();
    const after = await pathOf(connect);
    assert.ok(sent(after) - sent(before) >= 1024 * 1024, `${sent(before)} -> ${sent(after)}`);
    const links = after.Queues!.flatMap(({ Subflows }) => Subflows);
    const [first, backup] = [false, true].map((wanted) =>
      links.filter(({ Backup }) => Backup === wanted).reduce((sum, { BytesSent }) => sum + BytesSent, 0),
    );
    assert.ok(first! > 1024 * 1024 && backup! < 1024 * 1024, `first ${first}, backup ${backup}`);
  });

  test('the target lists what its hosts have made', async () => {
    const text = await ok('list', '-v', '--socket', serve.socket);
    assert.match(text, /^ {2}cntlid 1 of nqn\.\S+, port 1, nqn\.2026-01\.io\.nvbraid:test:subflows$/m);
    for (const qid of [0, 1, 2]) assert.match(text, new RegExp(`^ {4}queue ${qid}: [2-8] subflows$`, 'm'));
    assert.match(text, /^ {6}10\.1\.1\.1:4420 -> 10\.1\.2\.2:\d+ .* backup$/m);
    const { Targets } = JSON.parse(await ok('list', '-o', 'json', '--socket', serve.socket)) as {
      Targets: [{ queues: { qid: number; subflows: { bytesReceived: number }[] }[] }];
    };
    const { queues } = Targets[0];
    assert.deepEqual(
      queues.map(({ qid }) => qid),
      [0, 1, 2],
    );
    const received = queues.flatMap(({ subflows }) => subflows).reduce((sum, one) => sum + one.bytesReceived, 0);
    assert.ok(received >= 1024 * 1024, String(received));
  });

  test('top shows one line for each pair of addresses', async () => {
    const text = await ok('top', '-n', '1', '--socket', connect.socket);
    assert.match(text, /^ {2}Controller {2}Subflows .*RTT .*Flags/m);
    assert.match(text, /^ {2}nvme1 {7}10\.1\.1\.2 -> 10\.1\.1\.1 +3 .* -$/m);
    assert.match(text, /^ {2}nvme1 {7}10\.1\.2\.2 -> 10\.1\.1\.1 +3 .* backup$/m);
    const busy = sandbox.start(['write', '--socket', connect.socket, '-z', '1MiB', '-d', '/dev/zero']);
    const json = await ok('top', '-n', '1', '-d', '2', '-o', 'json', '--socket', connect.socket);
    await busy.exit();
    const { subsystems } = JSON.parse(json) as {
      subsystems: [{ subflows: { qid: number; sentBytesPerSecond: number | null }[] }];
    };
    const { subflows } = subsystems[0];
    assert.ok(subflows.length >= 6);
    assert.ok(subflows.every(({ sentBytesPerSecond }) => sentBytesPerSecond !== null));
  });

  test('a link that fails makes its subflows stale, and nothing happens to the path', async () => {
    const before = connect.events.length;
    links.set(1, 'down');
    await write();
    const stale = /"change":"stale".*10\.1\.1\.2:\d+ -> 10\.1\.1\.1:4420/;
    await connect.cli.printed(stale);
    assert.match(await ok('list-subsys', '-v', '--socket', connect.socket), /10\.1\.1\.2:\d+ -> .* stale$/m);
    assert.match(await ok('top', '-n', '1', '--socket', connect.socket), /10\.1\.1\.2 -> 10\.1\.1\.1 .* stale/);
    await write();
    links.set(1, 'up');
    await connect.cli.printed(/"change":"recovered".*10\.1\.1\.2:\d+ -> 10\.1\.1\.1:4420/);
    const other = connect.events.slice(before).filter(({ event }) => event !== 'subflow');
    assert.deepEqual(other, []);
    const { State } = await pathOf(connect);
    assert.equal(State, 'live');
  });

  test('nvbraid nbd says the same of the connections of its threads', async () => {
    const argv = ['nbd', '-t', 'mptcp', '-a', '10.1.1.1', '-n', NQN, '-U', sandbox.file('disk.nbd')];
    const socket = sandbox.file('nbd.sock');
    const nbd = sandbox.start([...argv, '--socket', socket, '-v'], links.on(links.host));
    await nbd.printed(/\d nvme1, queues? [01-]+: subflow 10\.1\.2\.2 -> 10\.1\.1\.1 added\n/);
    const text = await ok('list-subsys', '-v', '--socket', socket);
    for (const qid of [0, 1]) assert.match(text, new RegExp(`^ {6}queue ${qid}: [2-8] subflows$`, 'm'));
    nbd.signal('SIGINT');
    assert.equal(await nbd.exit(), 0, nbd.err);
  });

  test('an address that is given up takes its subflows with it, and people read of it', async () => {
    const where = ['-t', 'mptcp', '-a', '10.1.1.1', '-n', NQN, '-i', '2'];
    const people = sandbox.start(['connect', '-D', ...where], links.on(links.host));
    await people.printed(/\d nvme1, queues? [-0-2, ]+: subflow 10\.1\.2\.2 -> 10\.1\.1\.1 added\n/);
    links.secondAddress('delete');
    await people.printed(/\d nvme1, queues? [-0-2, ]+: subflow 10\.1\.2\.2 -> 10\.1\.1\.1 lost, \d left that works?\n/);
    await connect.told(...[0, 1, 2].map((qid) => `lost ${qid} 10.1.2.2 -> 10.1.1.1`));
    await serve.told(...[0, 1, 2].map((qid) => `lost ${qid} 10.1.1.1 -> 10.1.2.2`));
    const { State, Queues } = await pathOf(connect);
    assert.deepEqual([State, Queues!.map(({ SubflowCount }) => SubflowCount)], ['live', [1, 1, 1]]);
    // The end of the connections is no loss of subflows.
    const before = people.out.length;
    people.signal('SIGINT');
    assert.equal(await people.exit(), 0);
    assert.doesNotMatch(people.out.slice(before), /subflow/);
  });

  test('a connection to a target that speaks TCP alone is said to have fallen back', async () => {
    await startServe('tcp', 'tcp', 4421);
    const fallen = await startConnect('fallen', 'mptcp', 4421);
    await fallen.cli.printed(/"change":"fallback"/);
    const { State, Queues } = await pathOf(fallen);
    assert.equal(State, 'live');
    assert.deepEqual(
      Queues!.map(({ QID, Fallback, SubflowCount }) => [QID, Fallback, SubflowCount]),
      [0, 1, 2].map((qid) => [qid, true, 1]),
    );
    assert.match(await ok('list-subsys', '-v', '--socket', fallen.socket), /^ {6}queue 0: fell back to TCP$/m);
    assert.match(
      await ok('top', '-n', '1', '--socket', fallen.socket),
      /10\.1\.1\.2 -> 10\.1\.1\.1 +3 .* fell back to TCP/,
    );
  });

  test('by TCP nothing is said of subflows', async () => {
    const plain = await startConnect('plain', 'tcp', 4421);
    const { Queues } = await pathOf(plain);
    assert.equal(Queues, undefined);
    assert.doesNotMatch(await ok('list-subsys', '-v', '--socket', plain.socket), /^ +queue \d/m);
    assert.doesNotMatch(await ok('top', '-n', '1', '--socket', plain.socket), /Subflows/);
    assert.deepEqual(plain.subflowEvents, []);
  });
});
