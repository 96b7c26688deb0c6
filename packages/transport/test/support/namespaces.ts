import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { koffi, libcUnsupported } from '../../src/libc.ts';
import { mptcp } from '../../src/mptcp/mptcp-ops.ts';

/** Why tests cannot make network namespaces here; false when they can: as `skip` of a test. */
export const noNamespaces: string | false =
  libcUnsupported() ??
  (process.getuid?.() !== 0 ? 'making network namespaces needs root' : null) ??
  (canMake() ? false : 'ip netns add does not work here');

/** The same for tests that need Multipath TCP there. */
export const noMptcpNamespaces: string | false = mptcp.unsupported() ?? noNamespaces;

for (const reason of new Set([mptcp.unsupported(), noMptcpNamespaces])) {
  if (typeof reason === 'string') console.log(`# tests are left out: ${reason}`);
}

function canMake(): boolean {
  const name = `nvb-${randomBytes(4).toString('hex')}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return false;
  return spawnSync('ip', ['netns', 'delete', name]).status === 0;
}

const open = new Set<Namespaces>();
process.on('exit', () => {
  for (const one of open) one.close();
});

let setns: ((fd: number, kind: number) => number) | null = null;

/** Two machines joined by links, each a network namespace. Link i has 10.77.i.1 and fd77:i::1 at the target, .2 at the host. */
export class Namespaces {
  readonly target: string;
  readonly host: string;
  readonly links: number;
  readonly #home = openSync('/proc/self/ns/net', 'r');

  /** @param links joined at once; endpoints of Multipath TCP are made for `paths` of them */
  constructor(links: number, paths = links) {
    const mark = randomBytes(4).toString('hex');
    this.target = `nvb-${mark}t`;
    this.host = `nvb-${mark}h`;
    this.links = links;
    open.add(this);
    for (const name of [this.target, this.host]) {
      this.ip('netns', 'add', name);
      this.ip('-n', name, 'link', 'set', 'lo', 'up');
      if (paths > 0) this.ip('-n', name, 'mptcp', 'limits', 'set', 'subflows', '8', 'add_addr_accepted', '8');
    }
    for (let i = 1; i <= links; i++) {
      const peer = ['peer', 'name', `h${i}`, 'netns', this.host];
      this.ip('link', 'add', 'name', `t${i}`, 'netns', this.target, 'type', 'veth', ...peer);
      for (const [name, device, end] of [
        [this.target, `t${i}`, 1],
        [this.host, `h${i}`, 2],
      ] as const) {
        this.ip('-n', name, 'address', 'add', `10.77.${i}.${end}/24`, 'dev', device);
        this.ip('-n', name, 'address', 'add', `fd77:${i}::${end}/64`, 'dev', device, 'nodad');
        this.ip('-n', name, 'link', 'set', device, 'up');
      }
    }
    for (let i = 2; i <= paths; i++) this.addPath(i);
  }

  /** Lets the host's connections use link i as well. */
  addPath(i: number): void {
    this.ip('-n', this.host, 'mptcp', 'endpoint', 'add', `10.77.${i}.2`, 'dev', `h${i}`, 'subflow');
    this.ip('-n', this.target, 'mptcp', 'endpoint', 'add', `10.77.${i}.1`, 'dev', `t${i}`, 'signal');
  }

  /** Pulls the cable of link i, or puts it in again. */
  setLink(i: number, state: 'up' | 'down'): void {
    this.ip('-n', this.host, 'link', 'set', `h${i}`, state);
  }

  ip(...args: string[]): string {
    return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Sockets that this thread makes from here on are of one of them; null: of where the process was started. */
  enter(name: string | null): void {
    setns ??= koffi().load('libc.so.6').func('setns', 'int', ['int', 'int']);
    const fd = name === null ? this.#home : openSync(`/run/netns/${name}`, 'r');
    try {
      if (setns!(fd, 0x40000000) !== 0) throw new Error(`cannot enter ${name}: errno ${koffi().errno()}`);
    } finally {
      if (name !== null) closeSync(fd);
    }
  }

  close(): void {
    if (!open.delete(this)) return;
    this.enter(null);
    closeSync(this.#home);
    for (const name of [this.target, this.host]) spawnSync('ip', ['netns', 'delete', name]);
  }
}
