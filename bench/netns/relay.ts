import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Side } from './names.ts';
import { NetnsError, remember } from './own.ts';
import type { Shape } from './shape.ts';

/** What went one way over one link. */
export interface LaneStats {
  readonly packets: number;
  readonly bytes: number;
  readonly lost: number;
  readonly overflowed: number;
  readonly refused: number;
}

const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra'];

/** Compiles the relay. @throws NetnsError */
function compileRelay(out = join(import.meta.dirname, '..', 'out')): string {
  mkdirSync(out, { recursive: true });
  const program = join(out, 'relay');
  const gcc = spawnSync('gcc', [...FLAGS, '-o', `${program}.${process.pid}`, join(import.meta.dirname, 'relay.c')], {
    encoding: 'utf8',
  });
  if (gcc.error) throw new NetnsError('there is no gcc: the relay has to be compiled');
  if (gcc.status !== 0) throw new NetnsError(`gcc could not compile the relay:\n${gcc.stderr}`);
  // Others may be running the old one.
  spawnSync('mv', ['-f', `${program}.${process.pid}`, program]);
  return program;
}

/** Links of TUN devices with a program of ours between them (relay.c), which does what netem would. */
export class Relay {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #lines: AsyncIterator<string>;
  #said = '';

  private constructor(child: ChildProcessByStdio<Writable, Readable, Readable>, lines: Interface) {
    this.#child = child;
    this.#lines = lines[Symbol.asyncIterator]();
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
    });
  }

  /**
   * Makes the devices.
   * @param whole packets are what TCP hands to its device, up to 64 KiB, as with netem on veth; else as on the wire
   */
  static async start(
    seed: number,
    whole: boolean,
    names: Readonly<Record<Side, string>>,
    devices: readonly Readonly<Record<Side, string>>[],
  ): Promise<Relay> {
    const links = devices.map(({ target, host }) => `${target},${host}`);
    const sides = [names.target, names.host].map((name) => `/run/netns/${name}`);
    const child = spawn(compileRelay(), [String(seed), whole ? 'offload' : 'wire', ...sides, ...links], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    remember(child);
    const relay = new Relay(child, createInterface({ input: child.stdout }));
    await relay.#expect('ready');
    return relay;
  }

  /** @param link from 0 on */
  async set(link: number, { rateBits, delayMs, lossPercent, limitPackets }: Shape): Promise<void> {
    const numbers = [rateBits, delayMs * 1000, lossPercent * 10000, limitPackets].map(Math.round);
    this.#child.stdin.write(`${[link, ...numbers].join(' ')}\n`);
    await this.#expect('ok');
  }

  /** Of each link what the target sent, then what the host sent. */
  async stats(): Promise<LaneStats[]> {
    this.#child.stdin.write('stats\n');
    return JSON.parse(await this.#line()) as LaneStats[];
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.stdin.end();
    await gone;
  }

  async #expect(word: string): Promise<void> {
    const line = await this.#line();
    if (line !== word) throw new NetnsError(`the relay said '${line}' instead of '${word}'`);
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new NetnsError(`the relay has ended: ${this.#said.trim() || 'without a word'}`);
    return value;
  }
}
