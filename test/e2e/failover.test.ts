/*
 * Failover, with real processes: two `nvbraid serve --config` share one file, `nvbraid bench` writes and verifies over both
 * paths, and one target at a time is killed and started again.
 * NVBRAID_LONG=1 makes each round a minute long.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { seed } from './story.ts';

const NQN = 'nqn.2026-01.org.nvbraid:failover';
const MAIN = new URL('../../packages/cli/bin/nvbraid.js', import.meta.url).pathname;
const SECONDS = process.env.NVBRAID_LONG === '1' ? 60 : 6;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-failover-'));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
});

function nvbraid(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A target process that serves the shared file on a port of its own. */
class Serve {
  readonly port: number;
  readonly socket: string;
  readonly #config: string;
  #child: ChildProcess | null = null;

  constructor(name: string, image: string, port: number, cntlids: readonly [number, number]) {
    this.port = port;
    this.socket = join(scratch, `${name}.sock`);
    this.#config = join(scratch, `${name}.json`);
    writeFileSync(this.#config, JSON.stringify(configuration(image, port, cntlids)));
  }

  async start(): Promise<void> {
    rmSync(this.socket, { force: true });
    const child = nvbraid(['serve', '--config', this.#config, '--socket', this.socket]);
    this.#child = child;
    let said = '';
    child.stderr!.on('data', (text: Buffer) => {
      said += text;
    });
    const ready = new Promise<void>((resolve) => {
      createInterface({ input: child.stdout! }).on('line', (line) => {
        said += `${line}\n`;
        if (line.includes('control socket')) resolve();
      });
      child.once('exit', () => resolve());
    });
    await ready;
    assert.equal(child.exitCode, null, said);
  }

  async kill(): Promise<void> {
    const exit = once(this.#child!, 'exit');
    this.#child!.kill('SIGKILL');
    await exit;
  }
}

function configuration(image: string, port: number, [min, max]: readonly [number, number]): object {
  const uuid = '5d2f1c4e-7f0b-4a57-9a40-1f8b61d2a001';
  return {
    hosts: [],
    ports: [
      {
        addr: { adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: String(port), trtype: 'tcp' },
        portid: 1,
        referrals: [],
        subsystems: [NQN],
      },
    ],
    subsystems: [
      {
        allowed_hosts: [],
        attr: { allow_any_host: '1', serial: 'FAILOVER', cntlid_min: String(min), cntlid_max: String(max) },
        namespaces: [
          {
            device: { path: image, uuid },
            enable: 1,
            nsid: 1,
            nvbraid: { shared: '1', size: String(8 << 20), create: '1' },
          },
        ],
        nqn: NQN,
      },
    ],
  };
}

interface Result {
  readonly error: string | null;
  readonly total: { readonly ios: number; readonly errors: number };
  readonly verify: { readonly checked_blocks: number; readonly violation: object | null };
  readonly failover: {
    readonly stall_ms: number;
    readonly bound_ms: number;
    readonly formula: string;
    readonly failed_over: number;
    readonly failover_max_us: number;
    readonly held: number;
    readonly proven: number;
    readonly timed_out: number;
    readonly paths: readonly { readonly state: string; readonly resets: number; readonly reconnects: number }[];
  };
}

/** `nvbraid bench` over both; meanwhile `trouble` is made again and again. */
async function story(
  name: string,
  options: readonly string[],
  trouble: (targets: readonly Serve[], turn: number) => Promise<void>,
): Promise<Result> {
  const image = join(scratch, `${name}.img`);
  const targets = [
    new Serve(`${name}-a`, image, await freePort(), [1, 1000]),
    new Serve(`${name}-b`, image, await freePort(), [1001, 2000]),
  ];
  for (const target of targets) await target.start();
  const bench = nvbraid([
    ...['bench', '-n', NQN, ...targets.flatMap(({ port }) => ['--path', `127.0.0.1:${port}`])],
    ...['--rw', 'randrw', '--verify', 'history', '--runtime', String(SECONDS), '--iodepth', '16', '--size', '1MiB'],
    ...['--keep-alive-tmo', '2', '--reconnect-delay', '1', '--seed', String(seed()), '-o', 'json', ...options],
  ]);
  let out = '';
  let err = '';
  let over = false;
  bench.stdout!.on('data', (text: Buffer) => {
    out += text;
  });
  const running = new Promise<void>((resolve) => {
    bench.stderr!.on('data', (text: Buffer) => {
      err += text;
      if (err.includes('randrw of')) resolve();
    });
    bench.once('exit', () => resolve());
  });
  const exit = once(bench, 'exit').then(([code]) => {
    over = true;
    return code as number;
  });
  await running;
  await sleep(500);
  for (let turn = 0; !over; turn++) await trouble(targets, turn);
  const code = await exit;
  assert.equal(code, 0, `${out}\n${err}`);
  for (const target of targets) await target.kill();
  const result = JSON.parse(out) as Result;
  const { failover, total, verify } = result;
  console.log(
    `${name}: ${total.ios} operations, ${verify.checked_blocks} blocks checked, ${failover.failed_over} failed over, ` +
      `${failover.held} held (${failover.proven} proven, ${failover.timed_out} by time), longest stall ` +
      `${failover.stall_ms} ms, failover at most ${failover.failover_max_us / 1000} ms, bound ${failover.formula}`,
  );
  assert.equal(result.error, null);
  assert.equal(total.errors, 0);
  assert.equal(verify.violation, null);
  assert.ok(failover.stall_ms <= failover.bound_ms, 'the longest stall is within the bound');
  return result;
}

/** One target dies and comes back; the other is left alone until the path to this one is there again. */
async function killOne(targets: readonly Serve[], turn: number): Promise<void> {
  const target = targets[turn % 2]!;
  await target.kill();
  await sleep(200);
  await target.start();
  await sleep(1500);
}

for (const safe of ['on', 'off']) {
  test(`targets that are killed one after the other lose no block and fail no call, safe failover ${safe}`, async () => {
    const { failover } = await story(`kill-${safe}`, ['--safe-failover', safe, '--iopolicy', 'round-robin'], killOne);
    assert.ok(failover.paths.some(({ resets }) => resets > 0));
    assert.ok(failover.failed_over > 0);
    if (safe === 'off') assert.equal(failover.held, 0);
    else assert.equal(failover.timed_out, 0, 'the end of a killed process is proven at once');
  });
}
