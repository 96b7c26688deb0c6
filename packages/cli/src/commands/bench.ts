import { randomInt } from 'node:crypto';
import {
  connectController,
  connectSubsystem,
  type HostController,
  type HostNamespace,
  type HostSubsystem,
  NvbraidError,
  type Target,
} from 'nvbraid';
import { advised } from '../advice.ts';
import { type Address, connectOptions, formatAddress, onlySubsystem } from '../association.ts';
import { FailoverWatch } from '../bench/paths.ts';
import { benchResult, describeResult, Progress } from '../bench/result.ts';
import { makeVerifier, type VerifyMode } from '../bench/verifier.ts';
import { type Rw, Workload, type WorkloadOptions } from '../bench/workload.ts';
import { command, type Invocation, type Options } from '../command.ts';
import { describeNamespaces } from '../host-session.ts';
import { chooseNamespace, resolveAddress } from '../open-session.ts';
import {
  multipathOptions,
  namespaceOption,
  outputOptions,
  queueOptions,
  recoveryOptions,
  sessionOptions,
} from '../options.ts';
import { parsePath } from '../path-option.ts';
import { startSelfTarget } from '../self-target.ts';
import { handsOff } from '../serve-config.ts';
import { formatDuration, formatSize, plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import { UsageError } from '../usage-error.ts';

const SELF_SIZE = 256 * 1024 * 1024;
const SELF_BLOCK_SIZE = 4096;
const IODEPTH_MAX = 4096;
const PROGRESS_MS = 500;

const options = {
  rw: {
    type: 'choice',
    choices: ['read', 'write', 'randread', 'randwrite', 'randrw'],
    help: 'What to do (default: randread; with --self and --verify randrw)',
  },
  rwmixread: { type: 'number', value: 'PERCENT', min: 0, max: 100, default: 50, help: 'Of randrw: how many read' },
  bs: { type: 'size', value: 'BYTES', min: 512, max: 16 * 1024 * 1024, default: 4096, help: 'Bytes of one operation' },
  iodepth: { type: 'number', value: 'NUMBER', min: 1, max: IODEPTH_MAX, default: 32, help: 'Operations under way' },
  runtime: { type: 'seconds', value: 'SECONDS', min: 0.1, max: 86400, default: 10, help: 'How long' },
  'ramp-time': {
    type: 'seconds',
    value: 'SECONDS',
    min: 0,
    max: 3600,
    default: 0,
    help: 'Load it so long before; then only what ends within --runtime is counted',
  },
  bwavgtime: {
    type: 'number',
    value: 'MILLISECONDS',
    min: 0,
    max: 60000,
    default: 0,
    help: 'With -o json: the bytes of each stretch of so many milliseconds; 0 for none',
  },
  size: {
    type: 'size',
    value: 'BYTES',
    min: 512,
    max: Number.MAX_SAFE_INTEGER,
    help: `Bytes to use from the beginning of the namespace (default: all; with --self ${formatSize(SELF_SIZE)})`,
  },
  verify: {
    type: 'choice',
    choices: ['none', 'crc32c', 'history'],
    default: 'none',
    help: 'Check what is read: crc32c that each block is whole and in its place, history that it is the last one written',
  },
  seed: { type: 'number', value: 'NUMBER', min: 0, max: 0xffffffff, help: 'Seed of the random choices' },
  self: { type: 'flag', help: 'Against a target of its own, in memory' },
  reactors: { type: 'number', value: 'NUMBER', min: 0, max: 64, help: 'With --self: threads of the target' },
  ...namespaceOption,
  ...queueOptions,
  ...recoveryOptions,
  ...multipathOptions,
  ...sessionOptions,
  ...outputOptions,
} as const satisfies Options;

export const bench = command({
  name: 'bench',
  summary: 'Load a namespace, measure, and check the data',
  description: [
    'The words are those of fio. Writes overwrite what is in the namespace, without asking: say --rw explicitly. The target is the one at -a, or the one that a running nvbraid serve or connect leads to, or with --self one of its own.',
    'With --verify=history each block carries its writer, a sequence number, its LBA and a CRC; the writers overlap, and every read must return the last completed write of a block or one that is under way. At the end everything written is read once more. The first error or wrong block ends the run with exit code 1.',
    'With --path, once or several times, the namespace is used by native multipath, and paths may be lost and come back while it runs. Operations on the same blocks then do not overlap. At the end it prints the longest time that an operation took and the bound of it; exceeding the bound is exit code 1, too.',
  ],
  options,
  examples: [
    { line: 'nvbraid bench --self --rw randread --iodepth 32 --runtime 5', help: 'this machine against itself' },
    {
      line: 'nvbraid bench -a 192.168.0.7 --rw randrw --rwmixread 70 -i 4 -o json',
      help: 'another machine, four queues',
    },
    { line: 'nvbraid bench --self --verify history', help: 'consistency of overlapping writers' },
    {
      line: 'nvbraid bench -a 10.0.0.7 --path 10.0.1.7 --rw randrw --verify history',
      help: 'failover: stop a target, or unplug a cable, meanwhile',
    },
  ],
  async run(invocation) {
    const { options, terminal } = invocation;
    if (!options.self && options.reactors !== undefined) throw new UsageError('--reactors needs --self');
    using stop = new StopSignal();
    if (options.path.length > 0) return await benchPaths(invocation, stop);
    const place = await findTarget(invocation, stop.signal);
    let controller: HostController | null = null;
    try {
      const wanted = { ...connectOptions(options), ...place.address, ctrlLossTmo: 0, signal: stop.signal };
      controller = await advised(place.address, connectController(wanted));
      const where = formatAddress(place.address.traddr, place.address.trsvcid);
      const { nsid } = chooseNamespace(
        { where, namespaces: describeNamespaces(controller.namespaces) },
        options['namespace-id'],
      );
      const { nrIoQueues } = controller;
      const subject = { namespace: controller.namespace(nsid), nrIoQueues, where, subsystem: null };
      return await measure(invocation, subject, stop);
    } finally {
      terminal.endStatus();
      await controller?.disconnect();
      await place.target?.close();
    }
  },
});

type BenchInvocation = Invocation<typeof options>;

/** What is loaded. */
interface Subject {
  readonly namespace: HostNamespace;
  readonly nrIoQueues: number;
  readonly where: string;
  /** Null for one controller without multipath. */
  readonly subsystem: HostSubsystem | null;
}

/** Over a head with all its paths. */
async function benchPaths(invocation: BenchInvocation, stop: StopSignal): Promise<number> {
  const { options, given, terminal } = invocation;
  if (options.self || given.has('socket')) throw new UsageError('--path excludes --self and --socket');
  const common = { transport: options.transport, trsvcid: options.trsvcid ?? 4420 };
  const paths = options.path.map((text) => parsePath(text, common));
  if (options.traddr !== undefined) paths.unshift({ ...common, traddr: options.traddr });
  const first = paths[0]!;
  const nqn = options.nqn ?? (await onlySubsystem(first, options, stop.signal));
  const where = paths.map(({ traddr, trsvcid }) => formatAddress(traddr, trsvcid)).join(', ');
  const subsystem = await advised(
    { ...first, nqn },
    connectSubsystem({
      ...connectOptions(options),
      nqn,
      paths,
      iopolicy: options.iopolicy,
      safeFailover: options['safe-failover'] === 'on',
      delayedRemovalSecs: options['delayed-removal-secs'],
      signal: stop.signal,
    }),
  );
  subsystem.on('log', (message) => terminal.note(message));
  try {
    if (subsystem.controllers.length < paths.length) {
      throw new NvbraidError('ECONNREFUSED', `${subsystem.controllers.length} of ${paths.length} paths are connected`);
    }
    const namespaces = describeNamespaces(subsystem.heads);
    const { nsid } = chooseNamespace({ where, namespaces }, options['namespace-id']);
    const { nrIoQueues } = subsystem.controllers[0]!;
    return await measure(invocation, { namespace: subsystem.head(nsid), nrIoQueues, where, subsystem }, stop);
  } finally {
    terminal.endStatus();
    await subsystem.disconnect();
  }
}

async function findTarget(
  { options, given }: BenchInvocation,
  signal: AbortSignal,
): Promise<{ address: Address; target: Target | null }> {
  if (!options.self) return { address: await resolveAddress(options, given, signal), target: null };
  if (['traddr', 'trsvcid', 'nqn', 'socket'].some((name) => given.has(name) && name !== 'socket')) {
    throw new UsageError('--self and the address of a target exclude each other');
  }
  const reactors = options.reactors ?? (handsOff(options.transport) ? 1 : 0);
  const blockSize = Math.min(SELF_BLOCK_SIZE, largestPowerOfTwo(options.bs));
  return startSelfTarget(options.transport, options.size ?? SELF_SIZE, blockSize, reactors);
}

async function measure(
  { options, terminal }: BenchInvocation,
  { namespace, nrIoQueues, where, subsystem }: Subject,
  stop: StopSignal,
): Promise<number> {
  const json = options['output-format'] === 'json';
  const plan = planOf(options, namespace, subsystem !== null);
  // To the standard error output: whoever makes trouble for the paths waits for it.
  if (!json || subsystem !== null) {
    const queues = `${plural(nrIoQueues, 'queue')}, depth ${plan.iodepth}`;
    terminal.note(
      `${plan.rw} of ${formatSize(plan.blockBytes)} for ${formatDuration(options.runtime * 1000)} on ${formatSize(plan.sizeBytes)} of namespace ${namespace.nsid} at ${where}, ${queues}, seed ${plan.seed}`,
    );
  }
  const sampleMs = options.bwavgtime;
  const workload = new Workload(namespace, { ...plan, sampleMs });
  const progress = new Progress(workload);
  const watch = subsystem === null ? null : new FailoverWatch(subsystem);
  const rampMs = options['ramp-time'] * 1000;
  let startMs = performance.now();
  const ticker = setInterval(() => {
    watch?.look();
    const seconds = Math.round((performance.now() - startMs) / 1000);
    terminal.status(`${seconds} of ${options.runtime} s  ${progress.text()}`);
  }, PROGRESS_MS);
  workload.start();
  const within = (ms: number): Promise<void> => Promise.race([workload.ended(), sleep(ms, stop.signal)]);
  const { read, write } = workload;
  if (rampMs > 0) {
    await within(rampMs);
    startMs = performance.now();
    for (const direction of [read, write]) direction.restart();
    progress.restart();
  }
  await within(options.runtime * 1000);
  clearInterval(ticker);
  let endMs = performance.now();
  if (rampMs > 0) for (const direction of [read, write]) direction.freeze();
  await workload.stop();
  if (rampMs === 0) endMs = performance.now();
  const seconds = (endMs - startMs) / 1000;
  if (workload.error === null && !stop.stopped) {
    await workload.verifyWritten(stop.signal, (share) => terminal.status(`reading back ${Math.round(share * 100)} %`));
  }
  terminal.endStatus();
  const longestUs = Math.max(read.longestMs, write.longestMs) * 1000;
  const failover = watch?.result(namespace.nsid, longestUs) ?? null;
  const result = benchResult(workload, plan.verifier, seconds, failover, sampleMs);
  if (json) {
    const { rw, rwmixread, blockBytes, iodepth, sizeBytes, seed } = plan;
    const settings = {
      rw,
      rwmixread,
      bs: blockBytes,
      iodepth,
      size: sizeBytes,
      seed,
      nr_io_queues: nrIoQueues,
    };
    terminal.json({ settings, ...result });
  } else {
    for (const text of describeResult(result)) terminal.line(text);
  }
  if (result.error === null) return 0;
  terminal.note(`nvbraid bench: ${result.error}`);
  return 1;
}

function planOf(options: BenchInvocation['options'], namespace: HostNamespace, apart: boolean): WorkloadOptions {
  const { bs, verify, self } = options;
  const { blockSize, size, nsid } = namespace;
  if (bs % blockSize !== 0) {
    throw new NvbraidError(
      'EINVAL',
      `--bs ${bs} is not a multiple of the block size ${blockSize} of namespace ${nsid}`,
    );
  }
  const wanted = options.size ?? size;
  if (wanted > size) {
    throw new NvbraidError(
      'EINVAL',
      `--size ${formatSize(wanted)} is more than namespace ${nsid} has: ${formatSize(size)}`,
    );
  }
  const sizeBytes = Math.floor(wanted / bs) * bs;
  if (sizeBytes === 0) throw new UsageError(`--bs ${formatSize(bs)} is more than the ${formatSize(wanted)} to be used`);
  if (apart && sizeBytes / bs <= options.iodepth) {
    throw new UsageError(
      `--iodepth ${options.iodepth} is not less than the ${sizeBytes / bs} places of --bs in --size`,
    );
  }
  const rw = chooseRw(options.rw as Rw | undefined, verify as VerifyMode, self);
  if (namespace.readOnly && rw !== 'read' && rw !== 'randread') {
    throw new NvbraidError('EINVAL', `namespace ${nsid} is read-only; choose --rw read or randread`);
  }
  const seed = options.seed ?? randomInt(0x100000000);
  return {
    rw,
    rwmixread: options.rwmixread,
    blockBytes: bs,
    iodepth: options.iodepth,
    sizeBytes,
    seed,
    apart,
    verifier: makeVerifier(verify as VerifyMode, blockSize, randomInt(1, 0x100000000), self ? 'zero' : 'any'),
  };
}

/** Checking needs writes, and nobody's data is overwritten unless that was said. */
function chooseRw(rw: Rw | undefined, verify: VerifyMode, self: boolean): Rw {
  if (rw !== undefined) return rw;
  if (verify === 'none') return 'randread';
  if (self) return 'randrw';
  throw new UsageError(`--verify ${verify} writes to the namespace: say so with --rw randrw, randwrite or write`);
}

function largestPowerOfTwo(bytes: number): number {
  let power = 512;
  while (bytes % (power * 2) === 0 && power < 65536) power *= 2;
  return power;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
