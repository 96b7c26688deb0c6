import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/*
 * A host and a target in network namespaces of their own, joined by two links: 10.1.1.2 - 10.1.1.1 and 10.1.2.2 - 10.1.2.1.
 * Multipath TCP makes its second subflow from 10.1.2.2.
 */

export class TwoLinks {
  readonly host: string;
  readonly target: string;

  constructor() {
    const name = `nvb-${randomBytes(4).toString('hex')}`;
    this.host = `${name}h`;
    this.target = `${name}t`;
    try {
      this.#make();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Why there can be none here; false when there can. */
  static missing(): string | false {
    if (process.getuid?.() !== 0) return 'network namespaces need root';
    const name = `nvb-${randomBytes(4).toString('hex')}`;
    try {
      ip('netns', 'add', name);
    } catch (error) {
      return `no network namespaces here: ${(error as Error).message}`;
    }
    try {
      ip('-n', name, 'mptcp', 'limits', 'set', 'subflows', '8', 'add_addr_accepted', '8');
      return false;
    } catch (error) {
      return `no Multipath TCP here: ${(error as Error).message}`;
    } finally {
      ip('netns', 'del', name);
    }
  }

  /** Before the name of a program, to run it on one side. */
  on(side: string): string[] {
    return ['ip', 'netns', 'exec', side];
  }

  /** Takes the target's end of a link down or up: the host's end stays up, and learns of it by silence alone. */
  set(link: number, state: 'up' | 'down'): void {
    ip('-n', this.target, 'link', 'set', `link${link}`, state);
  }

  /** The host uses, or gives up, its second address. */
  secondAddress(use: 'add' | 'delete', ...flags: string[]): void {
    const what = use === 'add' ? ['10.1.2.2', 'id', '2', 'dev', 'link2', 'subflow', ...flags] : ['id', '2'];
    ip('-n', this.host, 'mptcp', 'endpoint', use, ...what);
  }

  close(): void {
    for (const side of [this.host, this.target]) spawnSync('ip', ['netns', 'del', side]);
  }

  #make(): void {
    for (const side of [this.host, this.target]) {
      ip('netns', 'add', side);
      ip('-n', side, 'link', 'set', 'lo', 'up');
      ip('-n', side, 'mptcp', 'limits', 'set', 'subflows', '8', 'add_addr_accepted', '8');
    }
    for (const link of [1, 2]) {
      const name = `link${link}`;
      ip('link', 'add', name, 'netns', this.host, 'type', 'veth', 'peer', 'name', name, 'netns', this.target);
      ip('-n', this.target, 'addr', 'add', `10.1.${link}.1/24`, 'dev', name);
      ip('-n', this.host, 'addr', 'add', `10.1.${link}.2/24`, 'dev', name);
      for (const side of [this.host, this.target]) ip('-n', side, 'link', 'set', name, 'up');
    }
  }
}

function ip(...argv: string[]): void {
  const { status, stderr, error } = spawnSync('ip', argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${argv.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
