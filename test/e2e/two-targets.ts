/** Two real processes, `nvbraid serve --config`, that share one file: what the stories of failover are played with. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { call, type Params } from '@nvbraid/manage';

export const NQN = 'nqn.2026-01.org.nvbraid:failover';
const MAIN = new URL('../../packages/cli/bin/nvbraid.js', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-failover-'));
const children = new Set<ChildProcess>();
const sockets = new Set<Socket>();
after(() => {
  for (const socket of sockets) socket.destroy();
  for (const child of children) child.kill('SIGKILL');
  rmSync(scratch, { recursive: true, force: true });
});

export function nvbraid(args: readonly string[]): ChildProcess {
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
export class Serve {
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

  /** A call of the control socket. */
  call(method: string, params: Params = {}): Promise<unknown> {
    return call(this.socket, method, params);
  }

  /** The state of the ANA group that the namespace is in. */
  async setAna(state: string): Promise<void> {
    const edit = { op: 'set', path: '/ports/1/ana_groups/1', attribute: 'ana_state', value: state };
    await this.call('target.edit', { edits: [edit] });
  }

  /** Reads that this process has executed: above 0 when a host uses it. */
  async readCommands(): Promise<number> {
    const { stats } = (await this.call('status')) as { stats: { readCommands: number } };
    return stats.readCommands;
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
            nvbraid: { shared: '1', size: String(8 << 20), create: '1', filters: [{ kind: 'delay' }] },
          },
        ],
        nqn: NQN,
      },
    ],
  };
}

/** Two targets with a new file of this name between them. */
export async function twoTargets(name: string): Promise<[Serve, Serve]> {
  const image = join(scratch, `${name}.img`);
  const targets: [Serve, Serve] = [
    new Serve(`${name}-a`, image, await freePort(), [1, 1000]),
    new Serve(`${name}-b`, image, await freePort(), [1001, 2000]),
  ];
  for (const target of targets) await target.start();
  return targets;
}

export interface Wire {
  readonly port: number;
  /** The host finds its connections reset and cannot connect again; the target hears nothing of that. */
  cut(): void;
}

/** A network in front of a target that can break on the side of the host. */
export async function wireTo(target: Serve): Promise<Wire> {
  const hosts: Socket[] = [];
  const server = createServer((near) => {
    const far = createConnection(target.port, '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => {}).setNoDelay(true);
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes) => {
      if (!near.destroyed) near.write(bytes);
    });
    far.on('close', () => near.destroy());
    hosts.push(near);
    sockets.add(near).add(far);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    server.close();
    for (const near of hosts) near.resetAndDestroy();
  };
  return { port: (server.address() as { port: number }).port, cut };
}
