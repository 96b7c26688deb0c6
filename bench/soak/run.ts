import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Rng } from '@nvbraid/base';
import { connectController, HistoryChecker, type HostNamespace } from 'nvbraid';
import { type Judgement, judge, type Sample } from './memory.ts';
import { BLOCK_SIZE, NQN } from './names.ts';
import { cycle, ENABLE, Peer } from './peer.ts';

export interface SoakOptions {
  readonly minutes: number;
  /** Connections that are open at once. */
  readonly connections: number;
  /** Times that a host comes and goes. */
  readonly cycles: number;
  readonly seed: number;
  readonly sampleMs: number;
  say(line: string): void;
}

export interface SoakResult {
  readonly samples: readonly Sample[];
  readonly judgements: readonly Judgement[];
  /** Sentences; empty when all was well. */
  readonly faults: readonly string[];
  readonly verifiedBlocks: number;
  readonly cyclesDone: number;
  /** What the log of the target said, with how often. */
  readonly log: readonly (readonly [string, number])[];
}

interface TargetSample extends Omit<Sample, 'second'> {
  readonly controllers: number;
  readonly hosts: number;
  readonly changes: number;
  readonly log: [string, number][];
}

/** Blocks of namespace 1 that the hosts write and verify. */
const REGION = 512;
const QUEUES_PER_CONTROLLER = 9;
const PARALLEL_CYCLES = 8;

class SoakTarget {
  readonly #child: ChildProcess;
  port = 0;
  gone = false;

  constructor() {
    this.#child = fork(join(import.meta.dirname, 'soak-target.ts'), { stdio: 'inherit' });
    this.#child.on('exit', () => {
      this.gone = true;
    });
    process.once('exit', () => this.#child.kill('SIGKILL'));
  }

  async started(): Promise<void> {
    this.port = ((await this.#message('ready')) as { port: number }).port;
  }

  async sample(): Promise<TargetSample> {
    const answer = this.#message('sample');
    this.#child.send({ kind: 'sample' });
    return (await answer) as TargetSample;
  }

  change(): void {
    if (!this.gone) this.#child.send({ kind: 'change' });
  }

  async stop(): Promise<void> {
    if (this.gone) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.send({ kind: 'stop' });
    await exited;
  }

  #message(kind: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const heard = (message: { kind: string }): void => {
        if (message.kind !== kind) return;
        this.#child.off('message', heard);
        this.#child.off('exit', exited);
        resolve(message);
      };
      const exited = (code: number | null, signal: string | null): void =>
        reject(new Error(`the target has ended with ${signal ?? `code ${code}`}`));
      this.#child.on('message', heard);
      this.#child.once('exit', exited);
    });
  }
}

/** Connections that are there all the time; of each controller the first queue reads now and then. */
async function openMany(port: number, count: number): Promise<{ peers: Peer[]; readers: Peer[] }> {
  const peers: Peer[] = [];
  const readers: Peer[] = [];
  while (peers.length < count) {
    const host = 1000 + (peers.length % 50);
    const admin = await Peer.connect(port);
    peers.push(admin);
    await admin.initialize();
    const cntlid = await admin.join(NQN, host, 0, 0xffff);
    await admin.setCc(ENABLE);
    for (let qid = 1; qid <= QUEUES_PER_CONTROLLER && peers.length < count; qid++) {
      const io = await Peer.connect(port);
      peers.push(io);
      await io.initialize();
      await io.join(NQN, host, qid, cntlid);
      if (qid === 1) readers.push(io);
    }
  }
  return { peers, readers };
}

/** Writes and reads under the eyes of the checker until `running` says no, with a new association now and then. */
async function load(
  port: number,
  host: number,
  history: HistoryChecker,
  rng: Rng,
  running: () => boolean,
): Promise<void> {
  while (running()) {
    const controller = await connectController({
      ...{ traddr: '127.0.0.1', trsvcid: port, nqn: NQN, hostnqn: `nqn.2026-01.io.github.nvbraid:soak-host-${host}` },
      ...{ nrIoQueues: rng.between(1, 3), queueSize: 32, maxRetries: 0, ctrlLossTmo: 0 },
      ...{ hdrDigest: rng.chance(0.5), dataDigest: rng.chance(0.5), disableSqflow: rng.chance(0.5) },
    });
    const ns = controller.namespace(1);
    let left = rng.between(500, 5000);
    const more = (): boolean => running() && left-- > 0;
    await Promise.all(Array.from({ length: 4 }, (_, writer) => work(ns, host * 8 + writer, history, rng, more)));
    await controller.disconnect();
  }
}

async function work(ns: HostNamespace, writer: number, history: HistoryChecker, rng: Rng, more: () => boolean) {
  const buffer = Buffer.alloc(64 * BLOCK_SIZE);
  while (more()) {
    const blocks = rng.chance(0.1) ? rng.between(33, 64) : rng.between(1, 8);
    const slba = rng.below(REGION - blocks);
    const part = buffer.subarray(0, blocks * BLOCK_SIZE);
    if (rng.chance(0.5)) {
      const ticket = history.beginRead(slba, blocks);
      try {
        await ns.read(slba, part);
      } catch (error) {
        history.failRead(ticket);
        throw error;
      }
      history.completeRead(ticket, part);
    } else {
      const ticket = history.beginWrite(writer, slba, blocks, part);
      try {
        await ns.write(slba, part, { fua: rng.chance(0.05) });
      } catch (error) {
        history.failWrite(ticket);
        throw error;
      }
      history.completeWrite(ticket, false);
    }
  }
}

/** All of it; bounded by its options. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { say } = options;
  const target = new SoakTarget();
  await target.started();
  const started = performance.now();
  const endMs = started + options.minutes * 60_000;
  const faults: string[] = [];
  const samples: Sample[] = [];
  let over = false;
  const running = (): boolean => !over && !target.gone && performance.now() < endMs;

  const opened = await openMany(target.port, options.connections);
  say(`${opened.peers.length} connections are open after ${Math.round(performance.now() - started)} ms`);

  const history = new HistoryChecker({ blockSize: BLOCK_SIZE, run: options.seed });
  const hosts = Array.from({ length: 4 }, (_, host) =>
    load(target.port, host, history, new Rng(options.seed + host), running),
  );
  let cyclesDone = 0;
  const cyclers = Array.from({ length: PARALLEL_CYCLES }, async (_, which) => {
    const rng = new Rng(options.seed + 100 + which);
    // Spread over the time there is, and never more than were asked for.
    while (running() && cyclesDone < options.cycles) {
      cyclesDone++;
      await cycle(target.port, NQN, 100 + rng.below(40), rng);
      const share = (performance.now() - started) / (0.9 * (endMs - started));
      if (cyclesDone > share * options.cycles) await wait(20);
    }
  });
  const readers = (async () => {
    const rng = new Rng(options.seed + 200);
    while (running()) {
      const peer = opened.readers[rng.below(opened.readers.length)];
      peer?.read(1, rng.below(1024), rng.between(1, 64));
      await peer?.readDone();
      await wait(5);
    }
  })();
  const changes = (async () => {
    while (running()) {
      target.change();
      await wait(100);
    }
  })();
  const sampling = (async () => {
    while (running()) {
      await wait(options.sampleMs);
      const { rss, heap, external, files, threads, connections } = await target.sample();
      const second = (performance.now() - started) / 1000;
      samples.push({ second, rss, heap, external, files, threads, connections });
    }
  })();
  const tasks = { hosts, cyclers, readers: [readers], changes: [changes], sampling: [sampling] };
  for (const [name, promises] of Object.entries(tasks)) {
    for (const promise of promises) {
      promise.catch((error: Error) => {
        faults.push(`${name}: ${error.message}`);
        over = true;
      });
    }
  }
  await Promise.allSettled(Object.values(tasks).flat());
  if (history.violation !== null) faults.push(history.violation.message);
  for (const peer of opened.peers) peer.close(Math.random() < 0.5);
  const after = await target.sample().catch((error: Error) => void faults.push(error.message));
  let last = after;
  for (let i = 0; i < 100 && last !== undefined && last.connections + last.controllers + last.hosts > 0; i++) {
    await wait(100);
    last = (await target.sample().catch((error: Error) => void faults.push(error.message))) ?? undefined;
  }
  if (last !== undefined && last.connections + last.controllers + last.hosts > 0) {
    faults.push(
      `${last.connections} connections, ${last.controllers} controllers and ${last.hosts} hosts are left when all are gone`,
    );
  }
  await target.stop();
  // What is compiled and pooled in the beginning is no growth.
  const judgements = judge(samples.slice(Math.ceil(samples.length / 6)));
  for (const { what, flat } of judgements) if (!flat) faults.push(`${what} grows`);
  return { samples, judgements, faults, verifiedBlocks: history.checkedBlocks, cyclesDone, log: last?.log ?? [] };
}
