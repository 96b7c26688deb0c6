import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryDevice } from '@nvbraid/blockdev';
import { call } from '@nvbraid/manage';
import { AnaState } from '@nvbraid/wire';
import { createTarget, type NvbraidError, type Target, type TargetPort } from 'nvbraid';
import { run } from '../src/main.ts';
import { Terminal } from '../src/terminal.ts';
import { nvbraid, ok, Sink } from './support/in-process.ts';
import { type Cli, Sandbox } from './support/process.ts';

const NQN = 'nqn.2026-01.io.nvbraid:test:paths';
const ESC = '\x1b';

describe('nvbraid connect by two paths', { concurrency: false }, () => {
  const sandbox = new Sandbox();
  let target: Target;
  let ports: TargetPort[];
  let cli: Cli;
  let json: Cli;
  let socket: string;
  process.env.NVBRAID_RUNTIME_DIR = sandbox.env.NVBRAID_RUNTIME_DIR;

  const listen = (port = 0): Promise<TargetPort> => target.listen({ address: '127.0.0.1', port, subsystems: [NQN] });

  before(async () => {
    target = await createTarget({ reactors: 0 });
    target.addSubsystem({ nqn: NQN });
    await target.addNamespace(NQN, { device: memoryDevice({ size: 4 * 1024 * 1024, blockSize: 4096 }) });
    ports = [await listen(), await listen()];
    const [first, second] = ports.map(({ port }) => `127.0.0.1:${port}`) as [string, string];
    const common = ['-n', NQN, '-k', '1', '-c', '1', '--iopolicy', 'round-robin'];
    const socketOption = ['--socket', sandbox.file('connect.sock')];
    cli = sandbox.start(['connect', '--path', first, '--path', second, ...common, ...socketOption]);
    socket = (await cli.printed(/control socket (.*)\n/))[1]!;
    json = sandbox.start(['connect', '-D', '--path', first, '--path', second, '-o', 'json', ...common]);
    await json.printed(/"event":"connected"/);
  });
  after(async () => {
    await sandbox.close();
    await target.close();
  });

  const okHere = (...argv: string[]): Promise<string> => ok(...argv, '--socket', socket);
  const fails = async (code: number, message: RegExp, ...argv: string[]): Promise<void> => {
    const result = await nvbraid([...argv, '--socket', socket]);
    assert.match(result.err, message);
    assert.equal(result.code, code);
  };
  interface Path {
    name: string;
    controller: string;
    trsvcid: string;
    commands: number;
    failovers: number;
    state: string;
  }
  const verbose = async () => JSON.parse(await okHere('list-subsys', '-v', '-o', 'json'))[0].Subsystems[0];
  const paths = async (): Promise<Path[]> => (await verbose()).Heads[0].paths;
  const pathBy = async (port: TargetPort): Promise<Path> =>
    (await paths()).find(({ trsvcid }) => trsvcid === String(port.port))!;

  test('prints heads, paths and the bound on a stall with its formula', () => {
    for (const port of ports) {
      assert.match(cli.out, new RegExp(`^connected to ${NQN} at 127\\.0\\.0\\.1:${port.port}, controller \\d+$`, 'm'));
    }
    assert.match(cli.out, /^ {2}namespace 1: 4 MiB in blocks of 4096 bytes$/m);
    assert.match(cli.out, /^ {4}head nvme0n1, 2 paths: nvme0c\dn1 optimized, nvme0c\dn1 optimized$/m);
    assert.match(cli.out, /^ {2}iopolicy round-robin$/m);
    assert.match(cli.out, /^ {2}a write waits for a lost path at most .* s: .* x keep-alive-tmo.*CQT.* = \d+ ms$/m);
  });

  test('list-subsys prints the tree and the JSON of nvme-cli', async () => {
    const text = await okHere('list-subsys');
    assert.match(text, new RegExp(`^nvme-subsys0 - NQN=${NQN}\n +hostnqn=nqn\\..*\n +iopolicy=round-robin\n\\\\\n`));
    for (const { port } of ports) {
      assert.match(text, new RegExp(`^ \\+- nvme\\d tcp traddr=127\\.0\\.0\\.1,trsvcid=${port} live optimized$`, 'm'));
    }
    const [host] = JSON.parse(await okHere('list-subsys', '-o', 'json', 'nvme0n1'));
    assert.deepEqual(Object.keys(host), ['HostNQN', 'HostID', 'Subsystems']);
    const [{ Paths, ...subsystem }] = host.Subsystems;
    assert.deepEqual(subsystem, { Name: 'nvme-subsys0', NQN, IOPolicy: 'round-robin' });
    assert.deepEqual(
      new Set(Paths.map((path: { Address: string }) => path.Address)),
      new Set(ports.map(({ port }) => `traddr=127.0.0.1,trsvcid=${port}`)),
    );
    for (const path of Paths) {
      assert.deepEqual([path.Transport, path.State, path.ANAState], ['tcp', 'live', 'optimized']);
    }
    assert.match(await okHere('list-subsys', '-v'), /failovers 0, retries 0, errors 0/);
    await fails(1, /no nvbraid connect here has nvme0n7/, 'list-subsys', 'nvme0n7');
    await fails(2, /'disk' is no namespace such as nvme0n1/, 'list-subsys', 'disk');
    await fails(1, /is connected to nqn\.other/, 'list-subsys', '-n', 'nqn.other');
  });

  test('list -v has subsystems with controllers, paths and namespaces', async () => {
    const [host] = JSON.parse(await okHere('list', '-v', '-o', 'json')).Devices;
    const [subsystem] = host.Subsystems;
    assert.equal(subsystem.SubsystemNQN, NQN);
    assert.equal(subsystem.Controllers.length, 2);
    assert.equal(subsystem.Controllers[0].Paths[0].ANAState, 'optimized');
    assert.deepEqual(
      subsystem.Namespaces.map((one: Record<string, unknown>) => [one.NameSpace, one.NSID, one.PhysicalSize]),
      [['nvme0n1', 1, 4 * 1024 * 1024]],
    );
    assert.match(
      await okHere('list'),
      new RegExp(`127\\.0\\.0\\.1:${ports[0]!.port} 127\\.0\\.0\\.1:${ports[1]!.port}`),
    );
  });

  let calls = 0;
  /** Writes and reads blocks one after the other. @param from block that no other traffic uses */
  async function traffic(rounds: number, each: () => Promise<unknown> = async () => {}, from = 0): Promise<void> {
    const block = randomBytes(4096);
    for (let i = 0; i < rounds; i++) {
      const slba = from + (i % 256);
      block.writeUInt32LE(calls++);
      await call(socket, 'write', { nsid: 1, slba, data: block.toString('base64') });
      const { data } = (await call(socket, 'read', { nsid: 1, slba, bytes: 4096 })) as { data: string };
      assert.ok(Buffer.from(data, 'base64').equals(block));
      await each();
    }
  }

  test('calls take turns over the paths, and a policy that is set under traffic holds at once', async () => {
    const before = await paths();
    await traffic(20);
    const after = await paths();
    for (const [i, path] of after.entries()) {
      assert.ok(path.commands - before[i]!.commands >= 15, `${path.name} took ${path.commands}`);
    }
    let ended = false;
    const running = (async () => {
      while (!ended) await traffic(1, undefined, 512);
    })();
    for (const policy of ['queue-depth', 'service-time', 'round-robin', 'numa']) {
      assert.equal(await okHere('set', 'iopolicy', policy), `${policy}\n`);
      assert.equal(await okHere('get', 'iopolicy'), `${policy}\n`);
      await sleep(50);
    }
    const first = await paths();
    await traffic(20);
    ended = true;
    await running;
    const idle = (await paths()).filter((path, i) => path.commands === first[i]!.commands);
    assert.equal(idle.length, 1, 'numa stays with one path');
    await cli.printed(/iopolicy changed from round-robin to numa/);
  });

  test('a policy that does not exist is a mistake on the command line', async () => {
    await fails(2, /'round-robbin' is none of numa, .*; did you mean round-robin\?/, 'set', 'iopolicy', 'round-robbin');
    await fails(2, /NAME is missing/, 'set', 'iopolicy');
    await assert.rejects(call(socket, 'iopolicy', { iopolicy: 'x' }), (error: NvbraidError) => error.code === 'EINVAL');
    await assert.rejects(call(socket, 'iopolicy', { iopolicy: 5 }), (error: NvbraidError) => error.code === 'EINVAL');
    assert.equal(JSON.parse(await okHere('get-iopolicy', '-o', 'json')).iopolicy, 'numa');
    await okHere('set', 'iopolicy', 'round-robin');
  });

  test('a change of ANA is told, and the other path is used', async () => {
    const port = target.core.port(ports[0]!.portid)!;
    port.setAnaState(1, AnaState.Inaccessible);
    await cli.printed(/path nvme0c\dn1 ANA optimized -> inaccessible/);
    await json.printed(/"event":"ana-change",.*"before":"optimized","after":"inaccessible"/);
    const before = await pathBy(ports[0]!);
    await traffic(10);
    assert.equal((await pathBy(ports[0]!)).commands, before.commands);
    const ana = new RegExp(`trsvcid=${ports[0]!.port} live inaccessible$`, 'm');
    assert.match(await okHere('list-subsys'), ana);
    port.setAnaState(1, AnaState.Optimized);
    await cli.printed(/ANA inaccessible -> optimized/);
  });

  test('a path that closes under traffic is not noticed by calls, and is used again when it is back', async () => {
    const lost = ports[0]!;
    let rounds = 0;
    let closed: Promise<unknown> = Promise.resolve();
    await traffic(40, async () => {
      if (++rounds === 10) closed = lost.close();
    });
    await closed;
    await cli.printed(/nvme\d at 127\.0\.0\.1:\d+ connecting: /);
    await cli.printed(/path nvme0c\dn1 connecting/);
    await json.printed(/"event":"path-state",.*"state":"connecting"/);
    const away = (await pathBy(lost)).state;
    assert.notEqual(away, 'live');
    ports[0] = await listen(lost.port);
    await cli.printed(/connecting[\s\S]*path nvme0c\dn1 live/);
    const before = await pathBy(lost);
    await traffic(20);
    assert.ok((await pathBy(lost)).commands > before.commands);
    const { Paths } = await verbose();
    assert.ok(Paths.some((path: { Reconnects: number }) => path.Reconnects === 1));
  });

  test('top tells once a second what each path does, as JSON, for a pipe and on a terminal', async () => {
    let ended = false;
    const running = (async () => {
      while (!ended) await traffic(1);
    })();
    try {
      const watched = sandbox.start(['top', '-o', 'json', '-n', '2', '-d', '0.3', '--socket', socket]);
      assert.equal(await watched.exit(), 0, watched.err);
      const lines = watched.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.equal(lines.length, 2);
      for (const { subsystems } of lines) {
        assert.equal(subsystems[0].nqn, NQN);
        const [head] = subsystems[0].heads;
        assert.ok(head.readsPerSecond > 0 && head.writesPerSecond > 0 && head.latencyUs > 0, JSON.stringify(head));
        const blocks = head.readBytesPerSecond / 4096;
        assert.ok(Math.abs(blocks / head.readsPerSecond - 1) < 0.2, 'both rates are of the same time');
        assert.equal(head.paths.length, 2);
        for (const path of head.paths) {
          assert.ok(path.iops > 0, `${path.name} takes its turn`);
          assert.deepEqual([path.state, path.anaState, path.usable], ['live', 'optimized', true]);
        }
      }
      const pipe = sandbox.start(['top', '-d', '0.2', '--socket', socket]);
      await pipe.printed(/Path +Address[\s\S]*nvme0c\dn1 +127[\s\S]*Path +Address[\s\S]*nvme0c\dn1 +127/);
      pipe.signal('SIGINT');
      assert.equal(await pipe.exit(), 0);
    } finally {
      ended = true;
      await running;
    }
    const screen = new Sink();
    screen.isTTY = true;
    screen.columns = 60;
    assert.equal(await run(['top', '-n', '1', '--socket', socket], new Terminal(screen, screen, {})), 0);
    assert.ok(screen.text.startsWith(`${ESC}[?1049h${ESC}[?25l${ESC}[Hnvbraid top`), screen.text);
    assert.ok(screen.text.endsWith(`${ESC}[J${ESC}[?25h${ESC}[?1049l`), screen.text);
    for (const line of screen.text.split('\r\n')) {
      const shown = line.split(ESC).map((piece, i) => (i === 0 ? piece : piece.replace(/^\[[?0-9]*[a-zA-Z]/, '')));
      assert.ok(shown.join('').length <= 60, line);
    }
  });

  test('reset connects one controller again', async () => {
    const { controller } = await pathBy(ports[1]!);
    const resets = async (): Promise<number> =>
      (await verbose()).Paths.find(({ Name }: { Name: string }) => Name === controller).Resets;
    const before = await resets();
    assert.equal(await okHere('reset', `/dev/${controller}`), `resetting ${controller}\n`);
    await traffic(5);
    assert.equal(await resets(), before + 1);
    await until(async () => (await pathBy(ports[1]!)).state === 'live');
    await fails(1, /has no controller nvme9: it has nvme\d, nvme\d/, 'reset', 'nvme9');
    await fails(2, /'all' is no controller such as nvme1/, 'reset', 'all');
  });

  test('disconnect -d ends one controller; the last one it does not', async () => {
    const { controller } = await pathBy(ports[1]!);
    assert.equal(await okHere('disconnect', '-d', controller), `disconnected ${controller}\n`);
    assert.equal((await paths()).length, 1);
    await traffic(3);
    const { controller: last } = (await paths())[0]!;
    await fails(1, /it is the last controller/, 'disconnect', '-d', last);
    await fails(2, /-n and -d exclude each other/, 'disconnect', '-d', last, '-n', NQN);
  });

  test('Ctrl-C disconnects the rest', async () => {
    for (const process of [cli, json]) {
      process.signal('SIGINT');
      assert.equal(await process.exit(), 0);
    }
    assert.match(cli.out, /disconnected after .*: .* read, .* written/);
    const events = json.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).event);
    assert.equal(events[0], 'connected');
    assert.equal(events.at(-1), 'disconnected');
    await until(async () => target.stats().controllers === 0);
  });

  test('top ends when the last process has, and says so; without one it is an error', async () => {
    const { port } = ports[1]!;
    const own = sandbox.file('short.sock');
    const one = sandbox.start(['connect', '-a', '127.0.0.1', '-s', String(port), '-n', NQN, '--socket', own]);
    await one.printed(/Ctrl-C disconnects/);
    const watching = sandbox.start(['top', '-d', '0.2', '--socket', own]);
    await watching.printed(/Path +Address/);
    one.signal('SIGINT');
    await one.exit();
    assert.equal(await watching.exit(), 0);
    assert.match(watching.err, /No nvbraid connect is running here any more/);
    const none = await nvbraid(['top', '--socket', own]);
    assert.equal(none.code, 1);
    await fails(2, /-d: '0' is less|0 s is less than 0\.1 s/, 'top', '-d', '0');
  });

  test('one path of two is enough to begin; none is a sentence', async () => {
    const { port } = ports[1]!;
    const one = sandbox.start(['connect', '--path', `127.0.0.1:${port}`, '--path', '127.0.0.1:1', '-n', NQN]);
    await one.printed(/a path was not connected: cannot connect to 127\.0\.0\.1:1: connection refused/);
    one.signal('SIGINT');
    assert.equal(await one.exit(), 0);
    const none = await nvbraid(['connect', '--path', '127.0.0.1:1', '-n', NQN]);
    assert.equal(none.code, 1);
    assert.match(none.err, /cannot connect to 127\.0\.0\.1:1: connection refused; start a target there/);
  });

  for (const [message, ...argv] of [
    [/-a is missing: the address of the target/],
    [/127\.0\.0\.1:4420 is given twice; -D connects it twice/, '-a', '127.0.0.1', '--path', '127.0.0.1'],
    [/'70000' in '127\.0\.0\.1:70000' is not a port/, '--path', '127.0.0.1:70000'],
    [/'weight=2' is none of transport=, host-traddr=, host-iface=/, '--path', '127.0.0.1,weight=2'],
    [/host-iface must not be empty/, '--path', '127.0.0.1,host-iface='],
    [/transport is given twice/, '--path', '127.0.0.1,transport=net,transport=tcp'],
    [/'rdma' is none of tcp, mptcp, net/, '--path', '127.0.0.1,transport=rdma'],
    [/does not begin with an address/, '--path', ',transport=tcp'],
    [/'fast' is none of numa, round-robin/, '-a', '127.0.0.1', '--iopolicy', 'fast'],
    [/'maybe' is none of on, off/, '-a', '127.0.0.1', '--safe-failover', 'maybe'],
  ] as const) {
    test(`a mistake on the command line: ${argv.join(' ') || 'no address'}`, async () => {
      const { code, err } = await nvbraid(['connect', ...(argv as readonly string[])]);
      assert.match(err, message as RegExp);
      assert.equal(code, 2);
    });
  }

  test('safe failover without Keep Alive is refused with the way out', async () => {
    const { code, err } = await nvbraid(['connect', '--path', `127.0.0.1:${ports[1]!.port}`, '-n', NQN, '-k', '0']);
    assert.match(err, /safe failover needs Keep Alive.*set a keep-alive-tmo, or switch safe failover off/);
    assert.equal(code, 1);
  });
});

async function until(reached: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await reached()) return;
    await sleep(20);
  }
  assert.fail('it did not happen');
}
