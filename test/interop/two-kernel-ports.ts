/*
 * Our host over two ports of a Linux kernel's target, while the ports go, come back and change their ANA states: see
 * target2.sh. Every trouble lasts until our host has noticed it and has worked on through the other port.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, HistoryChecker, type HostHead, type PathStatus } from 'nvbraid';
import type { Guest } from './guest.ts';

const WRITERS = 4;
/** Blocks of each writer: none is written by two, since what fails over may run twice. */
const BLOCKS = 16;
/** The guest is emulated: between two operations of a writer. */
const REST_MS = 20;
/** Operations that have to end during a trouble, and after it. */
const PROGRESS = 24;
/** After that nothing is going to happen any more, however slow the machine is. */
const PATIENCE_MS = 90_000;

/** What happens to a port, and what ends it. */
type Trouble = 'unlink' | 'inaccessible' | 'persistent-loss' | 'change' | 'non-optimized';

/** In this order, again and again. */
const TROUBLES: readonly (readonly [Trouble, readonly number[]])[] = [
  ...[1, 2].flatMap((portid) =>
    (['unlink', 'inaccessible', 'non-optimized', 'change', 'persistent-loss'] as const).map(
      (trouble) => [trouble, [portid]] as const,
    ),
  ),
  ['inaccessible', [1, 2]],
  ['unlink', [1, 2]],
];

export interface Told {
  readonly operations: number;
  readonly troubles: number;
  readonly failovers: number;
  readonly held: number;
  readonly longestMs: number;
}

/** Writes and verifies for `seconds`, and until each trouble has been there; throws what went wrong. */
export async function twoKernelPorts(
  guest: Guest,
  nqn: string,
  ports: readonly [number, number],
  { safeFailover, seconds }: { readonly safeFailover: boolean; readonly seconds: number },
): Promise<Told> {
  const head = await connect({
    ...{ nqn, safeFailover, iopolicy: 'round-robin', keepAliveTmo: 2, reconnectDelay: 1 },
    ...{ ioTimeoutMs: 120_000, adminTimeoutMs: 120_000 },
    paths: ports.map((trsvcid) => ({ traddr: '127.0.0.1', trsvcid })),
  });
  const story = new Story(guest, head, ports, safeFailover);
  try {
    assert.equal(head.core.paths.length, 2, 'both ports are connected');
    return await story.run(seconds);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${story.account()}`, { cause: error });
  } finally {
    await head.disconnect();
  }
}

class Story {
  readonly #guest: Guest;
  readonly #head: HostHead;
  readonly #ports: readonly [number, number];
  readonly #checker: HistoryChecker;
  readonly #log: string[] = [];
  #operations = 0;
  #longestMs = 0;
  #stop = false;
  /** Why a writer ended before its time. */
  #failure: Error | null = null;

  constructor(guest: Guest, head: HostHead, ports: readonly [number, number], safeFailover: boolean) {
    this.#guest = guest;
    this.#head = head;
    this.#ports = ports;
    // Blocks hold what an earlier story has left.
    this.#checker = new HistoryChecker({ blockSize: head.blockSize, run: 1 + Number(safeFailover), initial: 'any' });
    head.subsystem.on('log', (message) => this.#log.push(message));
    head.on('ana-change', (path, before, after) => this.#log.push(`${path}: ${before} -> ${after}`));
    head.on('path-state', (path, state) => this.#log.push(`${path}: ${state}`));
  }

  async run(seconds: number): Promise<Told> {
    const untilMs = performance.now() + seconds * 1000;
    const writers = Array.from({ length: WRITERS }, (_, writer) =>
      this.#write(writer).catch((error: Error) => {
        this.#failure ??= error;
      }),
    );
    let troubles = 0;
    try {
      while (troubles < TROUBLES.length || performance.now() < untilMs) {
        const [trouble, portids] = TROUBLES[troubles++ % TROUBLES.length]!;
        await this.#trouble(trouble, portids);
      }
    } finally {
      this.#stop = true;
    }
    await Promise.all(writers);
    if (this.#failure !== null) throw this.#failure;
    assert.equal(this.#checker.violation, null, JSON.stringify(this.#checker.violation));
    let failovers = 0;
    for (const path of this.#paths()) failovers += path.failovers;
    const held = this.#head.subsystem.core.fences.heldCount;
    return { operations: this.#operations, troubles, failovers, held, longestMs: Math.round(this.#longestMs) };
  }

  /** What is known when it went wrong. */
  account(): string {
    return [...this.#log.slice(-40), JSON.stringify(this.#head.subsystem.status(), null, 1)].join('\n');
  }

  /** One trouble from its beginning to the end of its consequences. */
  async #trouble(trouble: Trouble, portids: readonly number[]): Promise<void> {
    const name = `${trouble} of port ${portids.join(' and ')}`;
    this.#log.push(`${name} begins`);
    const isUnlink = trouble === 'unlink';
    const resets = this.#path(portids[0]!).resets;
    for (const portid of portids) await this.#ask(isUnlink ? `unlink ${portid}` : `ana ${portid} ${trouble}`);
    const troubled = () => portids.map((portid) => this.#path(portid));
    await this.#until(`${name} is noticed`, () =>
      troubled().every(({ state, anaState }) => (isUnlink ? state !== 'live' : anaState === trouble)),
    );
    if (portids.length === 1) await this.#workOn(name, portids[0]!);
    else await this.#until(`${name} lets everything wait`, () => this.#waiting() === WRITERS);
    for (const portid of portids) await this.#ask(isUnlink ? `link ${portid}` : `ana ${portid} optimized`);
    await this.#until(`the end of ${name} is noticed`, () =>
      troubled().every(({ usable, anaState }) => usable && anaState === 'optimized'),
    );
    await this.#progress(`after ${name}`);
    if (isUnlink) assert.ok(this.#path(portids[0]!).resets > resets, `${name}: a reset is counted`);
    this.#log.push(`${name} is over`);
  }

  /** Operations go on, and none is sent through the troubled port. */
  async #workOn(name: string, portid: number): Promise<void> {
    const { commands } = this.#path(portid);
    await this.#progress(`during ${name}`);
    const more = this.#path(portid).commands - commands;
    // Those that were under way when the state was noticed may still end.
    assert.ok(more <= WRITERS, `${name}: ${more} commands went through it`);
  }

  async #progress(when: string): Promise<void> {
    const enough = this.#operations + PROGRESS;
    await this.#until(`operations end ${when}`, () => this.#operations >= enough);
  }

  async #until(what: string, reached: () => boolean): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    while (!reached()) {
      if (this.#failure !== null) throw this.#failure;
      assert.ok(performance.now() < endMs, `not seen in ${PATIENCE_MS / 1000} s: ${what}`);
      await sleep(20);
    }
  }

  /** The guest does what it is told before this ends. */
  async #ask(what: string): Promise<void> {
    const number = ++asked;
    this.#guest.send(`${number} ${what}`);
    const answer = await this.#guest.line(new RegExp(`^(done|failed) ${number}$`));
    assert.equal(answer, `done ${number}`, what);
  }

  #paths(): readonly PathStatus[] {
    return this.#head.subsystem.status()[0]!.paths;
  }

  #path(portid: number): PathStatus {
    const trsvcid = String(this.#ports[portid - 1]);
    const path = this.#paths().find((one) => one.trsvcid === trsvcid);
    assert.ok(path !== undefined, `port ${portid} has a path`);
    return path;
  }

  /** Commands that no path has. */
  #waiting(): number {
    const { fences } = this.#head.subsystem.core;
    const held = fences.pending.reduce((sum, fence) => sum + fence.held.length, 0);
    return this.#head.subsystem.status()[0]!.queued + held;
  }

  async #write(writer: number): Promise<void> {
    const head = this.#head;
    const checker = this.#checker;
    const block = Buffer.alloc(head.blockSize);
    for (let i = 0; !this.#stop; i++) {
      const slba = writer * BLOCKS + ((i * 5) % BLOCKS);
      const written = checker.beginWrite(writer, slba, 1, block);
      await this.#timed(head.write(slba, block));
      checker.completeWrite(written);
      const read = checker.beginRead(slba, 1);
      await this.#timed(head.read(slba, block));
      checker.completeRead(read, block);
      await sleep(REST_MS);
    }
  }

  async #timed(operation: Promise<unknown>): Promise<void> {
    const startMs = performance.now();
    await operation;
    this.#longestMs = Math.max(this.#longestMs, performance.now() - startMs);
    this.#operations++;
  }
}

/** Answers repeat the number of what was asked. */
let asked = 0;
