/*
 * Our host as the benchmark runs it, in a process of its own, as a user's program uses it: `connect`, and loops that await
 * one call after the other.
 *
 *   our-host.ts PORT WAY PLACE
 *
 * WAY: `controller` (connectController, no multipath), or a head over `1` or `2` paths (connect), the latter with
 * `2-round-robin` in turns. PLACE: `main`; `thread` for a worker thread that does nothing else; or `device` for such a
 * thread with the head as a block device, as `nvbraid nbd` has it: no promises, the end of a command is a call.
 *
 * Prints "listening 0" when it is connected; then each line of the standard input is a `HostJob`, and is answered by a
 * line with a `LoadReport`. Ends with its standard input.
 */
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Memory, Rng } from '@nvbraid/base';
import { type BlockDevice, type Io, IoOp, IoRequest, IoResult } from '@nvbraid/blockdev';
import { connect, connectController, HeadDevice, type HostNamespace, type LatencyHistogram } from 'nvbraid';
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
export type HostPlace = 'main' | 'thread' | 'device';

interface Subject {
  readonly namespace: HostNamespace;
  readonly latency: LatencyHistogram;
  readonly device: Pick<BlockDevice, 'blockSize' | 'blockCount' | 'submit'> | null;
}

const COMMON = { nqn: SUBSYSTEM_NQN, queueSize: 256, disableSqflow: true };

async function open(port: number, way: HostWay, place: HostPlace): Promise<Subject> {
  const path = { traddr: ADDRESS, trsvcid: port };
  if (way === 'controller') {
    const controller = await connectController({ ...COMMON, ...path });
    const namespace = controller.namespace(1);
    const device = place === 'device' ? new ControllerDevice(namespace) : null;
    return { namespace, latency: controller.io.latency, device };
  }
  const paths = way === '1' ? [path] : [path, { ...path, duplicateConnect: true }];
  const iopolicy = way === '2-round-robin' ? 'round-robin' : 'numa';
  const head = await connect({ ...COMMON, paths, iopolicy });
  return { namespace: head, latency: head.io.latency, device: place === 'device' ? new HeadDevice(head) : null };
}

/** What `HeadDevice` does for a head, for a controller alone. */
class ControllerDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly #namespace: HostNamespace;

  constructor(namespace: HostNamespace) {
    this.#namespace = namespace;
    this.blockSize = namespace.blockSize;
    this.blockCount = namespace.blockCount;
  }

  submit(io: Io): boolean {
    const slba = io.offset / this.blockSize;
    if (io.op === IoOp.Read) this.#namespace.submitRead(slba, io.memory, io.memoryOffset, io.length, this.#done, io);
    else this.#namespace.submitWrite(slba, io.memory, io.memoryOffset, io.length, io.fua, this.#done, io);
    return false;
  }

  readonly #done = (context: unknown, status: number): void => {
    const io = context as Io;
    io.result = status === 0 ? IoResult.Ok : IoResult.Failed;
    io.done(io);
  };
}

/** One slot of the depth: an operation that is submitted again as soon as it has ended. */
class Slot extends IoRequest {
  readonly #next: (slot: Slot) => void;

  constructor(next: (slot: Slot) => void) {
    super();
    this.#next = next;
  }

  override done(): void {
    this.#next(this);
  }
}

/** As many operations of a block device as `depth` says, until `stopped`; fulfilled when all have ended. */
function keepBusy(
  device: NonNullable<Subject['device']>,
  { rw, bs, depth }: HostJob,
  rng: Rng,
  ended: () => boolean,
): Promise<void> {
  const places = Math.floor((device.blockCount * device.blockSize) / bs);
  return new Promise((resolve, reject) => {
    let busy = depth;
    const submit = (slot: Slot): boolean => {
      slot.offset = rng.below(places) * bs;
      return device.submit(slot);
    };
    const next = (slot: Slot): void => {
      do {
        if (slot.result !== IoResult.Ok) return reject(new Error(`an operation ended with ${slot.result}`));
        if (ended()) {
          if (--busy === 0) resolve();
          return;
        }
      } while (submit(slot));
    };
    for (let i = 0; i < depth; i++) {
      const memory = Memory.alloc(bs);
      rng.fill(memory.bytes);
      const slot = new Slot(next).set(rw === 'randread' ? IoOp.Read : IoOp.Write, { memory });
      if (submit(slot)) next(slot);
    }
  });
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function run({ namespace, latency, device }: Subject, job: HostJob): Promise<LoadReport> {
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
  const ended = (): boolean => {
    ios++;
    return stopping;
  };
  const slots = device === null ? Array.from({ length: depth }, slot) : [keepBusy(device, job, rng, ended)];
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
async function serve(
  port: number,
  way: HostWay,
  place: HostPlace,
  say: (text: string) => void,
): Promise<(job: string) => void> {
  const subject = await open(port, way, place);
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
  if (place !== 'main') {
    const worker = new Worker(new URL(import.meta.url), { workerData: { port: Number(port), way, place } });
    worker.on('message', say).on('error', (error) => {
      console.error(error);
      process.exit(1);
    });
    lines.on('line', (line) => worker.postMessage(line));
  } else {
    const take = await serve(Number(port), way, place, say);
    lines.on('line', take);
  }
} else {
  const { port, way, place } = workerData as { port: number; way: HostWay; place: HostPlace };
  const main = parentPort!;
  const take = await serve(port, way, place, (text) => main.postMessage(text));
  main.on('message', take);
}
