/*
 * Our host as the benchmark runs it, in a process of its own, as a user's program uses it: `connect`, and loops that await
 * one call after the other.
 *
 *   our-host.ts PORT WAY PLACE
 *
 * WAY: `controller` (connectController, no multipath), or a head over `1` or `2` paths (connect), the latter with
 * `2-round-robin` in turns. PLACE: `main`, or `thread` for a worker thread that does nothing else.
 *
 * Prints "listening 0" when it is connected; then each line of the standard input is a `HostJob`, and is answered by a
 * line with a `LoadReport`. Ends with its standard input.
 */
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Memory, Rng } from '@nvbraid/base';
import { connect, connectController, type HostNamespace, type LatencyHistogram } from 'nvbraid';
import { ADDRESS, SUBSYSTEM_NQN } from './cases.ts';
import type { LoadReport } from './statistics.ts';

/** What is measured; the words are those of `load`. */
export interface HostJob {
  readonly rw: 'randread' | 'randwrite';
  readonly bs: number;
  readonly depth: number;
  readonly seconds: number;
  readonly warmup: number;
}

export type HostWay = 'controller' | '1' | '2' | '2-round-robin';
export type HostPlace = 'main' | 'thread';

interface Subject {
  readonly namespace: HostNamespace;
  readonly latency: LatencyHistogram;
}

const COMMON = { nqn: SUBSYSTEM_NQN, queueSize: 256, disableSqflow: true };

async function open(port: number, way: HostWay): Promise<Subject> {
  const place = { traddr: ADDRESS, trsvcid: port };
  if (way === 'controller') {
    const controller = await connectController({ ...COMMON, ...place });
    return { namespace: controller.namespace(1), latency: controller.io.latency };
  }
  const paths = way === '1' ? [place] : [place, { ...place, duplicateConnect: true }];
  const iopolicy = way === '2-round-robin' ? 'round-robin' : 'numa';
  const head = await connect({ ...COMMON, paths, iopolicy });
  return { namespace: head, latency: head.io.latency };
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function run({ namespace, latency }: Subject, job: HostJob): Promise<LoadReport> {
  const { rw, bs, depth } = job;
  const rng = new Rng(1);
  const blocks = bs / namespace.blockSize;
  const places = Math.floor(namespace.blockCount / blocks);
  let ios = 0;
  let stopping = false;
  const slot = async (): Promise<void> => {
    const buffer = Memory.alloc(bs).bytes;
    rng.fill(buffer);
    while (!stopping) {
      const slba = rng.below(places) * blocks;
      if (rw === 'randread') await namespace.read(slba, buffer);
      else await namespace.write(slba, buffer);
      ios++;
    }
  };
  const slots = Array.from({ length: depth }, slot);
  await after(job.warmup * 1000);
  latency.clear();
  const before = { ios, ms: performance.now(), cpu: process.cpuUsage() };
  await Promise.race([after(job.seconds * 1000), Promise.all(slots)]);
  const seconds = (performance.now() - before.ms) / 1000;
  const cpu = process.cpuUsage(before.cpu);
  const done = ios - before.ios;
  if (done === 0) throw new Error(`no command was completed in ${seconds.toFixed(1)} s`);
  const { p50Us, p99Us, p999Us } = latency.summary();
  stopping = true;
  await Promise.all(slots);
  return {
    ios: done,
    iops: Math.round(done / seconds),
    mbps: (done * bs) / seconds / 1e6,
    p50_us: p50Us,
    p99_us: p99Us,
    p999_us: p999Us,
    cpu_us_client: (cpu.user + cpu.system) / done,
  };
}

/** Jobs come in, reports go out. */
async function serve(port: number, way: HostWay, say: (text: string) => void): Promise<(job: string) => void> {
  const subject = await open(port, way);
  say('listening 0');
  let last: Promise<void> = Promise.resolve();
  return (job) => {
    last = last
      .then(() => run(subject, JSON.parse(job) as HostJob))
      .then(
        (report) => say(JSON.stringify(report)),
        (error: unknown) => {
          console.error(error);
          process.exit(1);
        },
      );
  };
}

if (isMainThread) {
  const [, , port, way, place] = process.argv as string[] as [string, string, string, HostWay, HostPlace];
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.once('close', () => process.exit(0));
  if (place === 'thread') {
    const worker = new Worker(new URL(import.meta.url), { workerData: { port: Number(port), way } });
    worker.on('message', say).on('error', (error) => {
      console.error(error);
      process.exit(1);
    });
    lines.on('line', (line) => worker.postMessage(line));
  } else {
    const take = await serve(Number(port), way, say);
    lines.on('line', take);
  }
} else {
  const { port, way } = workerData as { port: number; way: HostWay };
  const main = parentPort!;
  const take = await serve(port, way, (text) => main.postMessage(text));
  main.on('message', take);
}
