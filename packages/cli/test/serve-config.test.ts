import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { connectController, type HostController } from 'nvbraid';
import { type Cli, Sandbox } from './support/process.ts';

const KEPT = 'nqn.2026-01.io.nvbraid:kept';
const CHANGED = 'nqn.2026-01.io.nvbraid:changed';
const RELOADS = 100;
const BLOCK = 4096;

function namespace(sandbox: Sandbox, nsid: number, name: string): object {
  writeFileSync(sandbox.file(name), '');
  truncateSync(sandbox.file(name), 1 << 20);
  return { ana_grpid: 1, device: { path: sandbox.file(name) }, enable: 1, nsid };
}

function subsystem(nqn: string, namespaces: object[]): object {
  return { allowed_hosts: [], attr: { allow_any_host: '1' }, namespaces, nqn };
}

function port(portid: number, trsvcid: number | string, subsystems: string[]): object {
  return {
    addr: { adrfam: 'ipv4', traddr: '127.0.0.1', treq: 'not specified', trsvcid: String(trsvcid), trtype: 'tcp' },
    ana_groups: [{ ana: { state: 'optimized' }, grpid: 1 }],
    param: {},
    portid,
    referrals: [],
    subsystems,
  };
}

async function portOf(sandbox: Sandbox, nqn: string): Promise<number> {
  const { out } = await sandbox.run(['list', '-o', 'json']);
  const ports: { trsvcid: number; nqns: string[] }[] = JSON.parse(out).Targets[0].ports;
  return ports.find(({ nqns }) => nqns.includes(nqn))!.trsvcid;
}

/** Every block tells who wrote it and when; what is read must be what was written last. */
async function traffic(host: HostController, stop: AbortSignal): Promise<number> {
  const ns = host.namespace(1);
  let rounds = 0;
  const written = Buffer.alloc(BLOCK);
  const read = Buffer.alloc(BLOCK);
  while (!stop.aborted) {
    const slba = rounds % 200;
    written.fill(rounds & 0xff);
    written.writeUInt32LE(rounds, 0);
    await ns.write(slba, written);
    await ns.read(slba, read);
    assert.deepEqual(read, written, `round ${rounds}`);
    rounds++;
  }
  return rounds;
}

/** Fulfilled when the process has said so many times that it has read its file again. */
async function reloaded(serve: Cli, times: number): Promise<void> {
  while ((serve.out.match(/config\.json was read again/g) ?? []).length < times) {
    assert.equal(serve.child.exitCode, null, serve.err);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('serve --config', () => {
  const sandbox = new Sandbox();
  after(() => sandbox.close());

  async function started(config: object, ...more: string[]): Promise<Cli> {
    writeFileSync(sandbox.file('config.json'), JSON.stringify(config));
    const serve = sandbox.start(['serve', '--config', 'config.json', ...more]);
    await serve.printed(/SIGHUP reads the file again/);
    return serve;
  }

  test('a hundred reloads leave alone what they do not change; a broken file changes nothing', async () => {
    const kept = subsystem(KEPT, [namespace(sandbox, 1, 'kept.img')]);
    const one = namespace(sandbox, 1, 'one.img');
    const two = namespace(sandbox, 2, 'two.img');
    const variants = [
      { ports: [port(1, 0, [KEPT])], subsystems: [kept] },
      { ports: [port(1, 0, [KEPT]), port(2, 0, [CHANGED])], subsystems: [kept, subsystem(CHANGED, [one])] },
      { ports: [port(1, 0, [KEPT]), port(2, 0, [CHANGED])], subsystems: [kept, subsystem(CHANGED, [one, two])] },
      {
        ports: [port(1, 0, [KEPT]), port(3, 0, [CHANGED])],
        subsystems: [subsystem(CHANGED, [{ ...two, ana_grpid: 7 }]), kept],
      },
    ];
    const serve = await started(variants[0]!);
    const host = await connectController({
      traddr: '127.0.0.1',
      trsvcid: await portOf(sandbox, KEPT),
      nqn: KEPT,
      ctrlLossTmo: 0,
    });
    let lost = false;
    host.on('state', (state) => {
      lost ||= state !== 'live';
    });
    const stop = new AbortController();
    const running = traffic(host, stop.signal);
    for (let i = 1; i <= RELOADS; i++) {
      const broken = i % 10 === 0;
      const text = JSON.stringify(variants[i % variants.length]);
      writeFileSync(sandbox.file('config.json'), broken ? text.slice(0, -20) : text);
      serve.signal('SIGHUP');
      await reloaded(serve, i);
    }
    stop.abort();
    assert.ok((await running) > 0);
    assert.ok(!lost, 'the association was never lost');
    const said = serve.out.match(/was read again and is not applied: the configuration is not JSON/g) ?? [];
    assert.equal(said.length, RELOADS / 10);
    assert.doesNotMatch(serve.out, /controller \d+ is gone/);
    await host.disconnect();
    serve.signal('SIGTERM');
    assert.equal(await serve.exit(), 0);
    assert.match(serve.out, /Everything that was written is on disk/);
  });

  test('a file that cannot be applied is refused with its place; nothing is left behind', async () => {
    const missing = { ...namespace(sandbox, 1, 'x.img'), device: { path: '/nowhere/x.img' } };
    const config = { ports: [port(1, 0, [KEPT])], subsystems: [subsystem(KEPT, [missing])] };
    writeFileSync(sandbox.file('bad.json'), JSON.stringify(config));
    const { code, err } = await sandbox.run(['serve', '--config', 'bad.json']);
    assert.match(err, /nvbraid serve: \/subsystems\/.*\/namespaces\/1: .*\/nowhere\/x\.img does not exist/);
    assert.equal(code, 1);
    const absent = await sandbox.run(['serve', '--config', 'none.json']);
    assert.match(absent.err, /the configuration none\.json does not exist/);
    assert.equal(absent.code, 1);
  });

  test('what a configuration says cannot be said on the command line too', async () => {
    for (const [words, message] of [
      [['disk.img'], /--config and FILE exclude each other/],
      [['--size', '1MiB'], /--config and --size exclude each other/],
      [['-a', '0.0.0.0'], /--config and --traddr exclude each other/],
      [['--allow-host', 'h'], /--config and --allow-host exclude each other/],
    ] as const) {
      const { code, err } = await sandbox.run(['serve', '--config', 'config.json', ...words]);
      assert.match(err, message);
      assert.equal(code, 2);
    }
  });

  test('what is changed while it runs is saved to its own file', async () => {
    const serve = await started({ hosts: [], ports: [], subsystems: [] }, '-t', 'net');
    const target = async (...words: string[]): Promise<void> => {
      const { code, err } = await sandbox.run(['target', ...words]);
      assert.equal(code, 0, err);
    };
    await target('create', `/subsystems/${KEPT}`, 'attr', 'allow_any_host=1');
    await target('create', `/subsystems/${KEPT}/namespaces/1`, 'nvbraid_memory=1MiB', 'enable=1');
    await target('create', '/ports/7', 'addr', 'trtype=tcp', 'adrfam=ipv4', 'traddr=127.0.0.1', 'trsvcid=0');
    await target('create', `/ports/7/subsystems/${KEPT}`);
    const { out } = await sandbox.run(['id-ctrl', '-o', 'json']);
    assert.equal(JSON.parse(out).mn.trim(), 'nvbraid');
    await target('saveconfig');
    await target('diff');
    await target('clear');
    assert.match((await sandbox.run(['target', 'diff'])).out, /create \/ports\/7\/subsystems\//);
    serve.signal('SIGTERM');
    assert.equal(await serve.exit(), 0);
  });
});
