import { join, resolve } from 'node:path';
import { makeRuntimeDirectory } from '@nvbraid/manage';
import { type LocalTarget, NbdHeads, type NbdPlace } from 'nvbraid';
import { advised } from '../advice.ts';
import { connectOptions } from '../association.ts';
import { command } from '../command.ts';
import { type ChosenDevice, chooseDevices, defaultNqn, namespaceOptions, withWayOut } from '../device-choice.ts';
import { givenPaths, nqnByAny } from '../given-paths.ts';
import { KeptFiles } from '../kept-files.ts';
import { NbdProcess } from '../nbd-process.ts';
import {
  addressOptions,
  associationOptions,
  multipathOptions,
  outputOptions,
  ownSocketOptions,
  PORT_MAX,
  queueOptions,
  recoveryOptions,
  verboseOption,
} from '../options.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

const NBD_PORT = 10809;
const THREADS_MAX = 64;
const FILES_MAX = 128;
const METHODS = new URL(`../head-methods${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href;

export const nbd = command({
  name: 'nbd',
  summary: 'Offer a file, or the namespaces of a subsystem, to NBD clients: qemu, nbdcopy, fio, the kernel',
  description: [
    'With FILE: serves it as serve does, by a target of its own inside this process, and offers it; nothing listens on a network unless --listen says so. With --size and no FILE it is memory.',
    'With -a: connects by one or more paths, as connect does, and offers each namespace as an NBD export by the name nvme0n1 and by NQN/NSID. The loss of a path is not seen by clients while another one lives or may come back.',
    'The server listens on a unix socket that its user alone can open, or with --listen on TCP, where NBD knows neither passwords nor encryption. With --threads the namespaces are spread over threads, each of which connects for itself and listens beside the first: PATH.1, PATH.2, or on the ports that follow.',
    'Answers list-subsys, top, id-ctrl, read, write, set iopolicy, add-path, disconnect and the like by its control socket, as connect does. Ctrl-C, SIGTERM or nvbraid disconnect take nothing new, answer what is under way, flush, and disconnect.',
  ],
  options: {
    ...addressOptions,
    ...associationOptions,
    ...queueOptions,
    ...recoveryOptions,
    ...multipathOptions,
    'unix-socket': {
      type: 'text',
      short: 'U',
      value: 'PATH',
      completes: 'file',
      help: 'Unix socket to listen on; else one in the runtime directory',
    },
    listen: {
      type: 'text',
      short: 'L',
      value: 'ADDR[:PORT]',
      help: `TCP address to listen on instead, e.g. 127.0.0.1:${NBD_PORT}; port 0 lets the system choose`,
    },
    threads: {
      type: 'number',
      value: 'NUMBER',
      min: 1,
      max: THREADS_MAX,
      default: 1,
      help: 'Threads that the namespaces are spread over',
    },
    size: {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: Number.MAX_SAFE_INTEGER,
      help: 'Size of a FILE that is made; without FILE, of memory',
    },
    'block-size': {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: 65536,
      help: 'Logical block size of FILE or memory, as with serve',
    },
    'read-only': { type: 'flag', help: 'Refuse writes to FILE' },
    ...ownSocketOptions,
    ...outputOptions,
    ...verboseOption,
  },
  operands: { value: 'FILE', help: 'Image file or block device', min: 0, max: FILES_MAX, completes: 'file' },
  examples: [
    { line: 'nvbraid nbd disk.img -U /tmp/disk.nbd', help: 'a file, with one command' },
    { line: 'nvbraid nbd --size 1GiB --listen 127.0.0.1', help: 'a disk in memory' },
    { line: 'nvbraid nbd -a 192.168.0.7 --path 192.168.1.7', help: 'two paths to the only subsystem there' },
    {
      line: 'nvbraid nbd -a 192.168.0.7 -U /run/disk.nbd',
      help: 'on a socket of your choice, for nbdcopy disk.img "nbd+unix:///?socket=/run/disk.nbd"',
    },
  ],
  async run({ options, operands, given, terminal }) {
    const place = placeOf(options['unix-socket'], options.listen);
    const how = { json: options['output-format'] === 'json', verbose: options.verbose > 0 };
    using stop = new StopSignal(() => terminal.note('closing; once more stops at once'));
    const { signal } = stop;
    if (offersHere(given, operands)) {
      const { local, devices } = await localOf(options, operands);
      warn(place, terminal);
      const { nqn } = local;
      const kept = new KeptFiles();
      try {
        const heads = await started(NbdHeads.start({ nqn, local, methods: METHODS, place, signal }), devices, options);
        for (const device of devices) await kept.add(device);
        const offered = { nqn, paths: [], names: devices.map(({ name }) => name) };
        return await new NbdProcess(heads, offered, terminal, how).run(options.socket, stop);
      } finally {
        await kept.settle();
      }
    }
    const paths = givenPaths({ ...options, 'duplicate-connect': false });
    const nqn = options.nqn ?? (await nqnByAny(paths, options, signal));
    warn(place, terminal);
    const work = NbdHeads.start({
      ...connectOptions(options),
      nqn,
      paths,
      iopolicy: options.iopolicy,
      safeFailover: options['safe-failover'] === 'on',
      delayedRemovalSecs: options['delayed-removal-secs'],
      place,
      threads: options.threads,
      methods: METHODS,
      signal,
    });
    const heads = await advised({ ...paths[0]!, nqn }, work);
    return await new NbdProcess(heads, { nqn, paths, names: null }, terminal, how).run(options.socket, stop);
  },
});

/** Of what is served here, and of nothing else. */
const LOCAL_OPTIONS = ['size', 'block-size', 'read-only'];
/** Of both. */
const COMMON_OPTIONS = new Set([
  ...LOCAL_OPTIONS,
  'nqn',
  'unix-socket',
  'listen',
  'socket',
  'output-format',
  'verbose',
]);

/** Whether files or memory of our own are offered, and not a target. @throws UsageError */
function offersHere(given: ReadonlySet<string>, operands: readonly string[]): boolean {
  const asked = LOCAL_OPTIONS.find((name) => given.has(name));
  if (operands.length === 0 && !given.has('size')) {
    if (!given.has('traddr') && !given.has('path')) {
      throw new UsageError('name a FILE to offer, or with -a the address of a target; --size alone offers memory');
    }
    if (asked !== undefined) throw new UsageError(`--${asked} is for a FILE: it cannot change what a target serves`);
    return false;
  }
  const other = [...given].find((name) => !COMMON_OPTIONS.has(name));
  if (other === undefined) return true;
  const what = operands.length === 0 ? '--size' : 'FILE';
  throw new UsageError(`${what} and --${other} exclude each other: a file is offered as it is, a target by paths`);
}

interface LocalWishes {
  readonly size: number | undefined;
  readonly 'block-size': number | undefined;
  readonly 'read-only': boolean;
  readonly nqn: string | undefined;
}

async function localOf(
  options: LocalWishes,
  operands: readonly string[],
): Promise<{ local: LocalTarget; devices: readonly ChosenDevice[] }> {
  const { size, nqn = defaultNqn(operands[0]) } = options;
  if (operands.length === 0 && options['read-only']) throw new UsageError('memory cannot be --read-only: it is empty');
  const wishes = { size, blockSize: options['block-size'], readOnly: options['read-only'] };
  const devices = await chooseDevices(operands, wishes);
  return { local: { nqn, namespaces: devices.map(namespaceOptions) }, devices };
}

async function started(
  work: Promise<NbdHeads>,
  devices: readonly ChosenDevice[],
  options: LocalWishes,
): Promise<NbdHeads> {
  try {
    return await work;
  } catch (error) {
    const [device, another] = devices;
    throw another === undefined ? withWayOut(error, device!, options['read-only']) : error;
  }
}

/** @throws UsageError */
function placeOf(path: string | undefined, listen: string | undefined): NbdPlace {
  if (path !== undefined && listen !== undefined) {
    throw new UsageError('--unix-socket and --listen exclude each other');
  }
  if (listen === undefined) {
    // Whole, since clients are told of it who may stand elsewhere.
    return { path: resolve(path ?? join(makeRuntimeDirectory(), `nbd-${process.pid}.nbd`)) };
  }
  const match = /^(?:\[([0-9a-f:.%a-z]+)\]|([^:[\]]+))(?::([0-9]{1,5}))?$/i.exec(listen);
  const port = Number(match?.[3] ?? NBD_PORT);
  if (match === null || port > PORT_MAX) {
    throw new UsageError(`--listen: '${listen}' is not an address, as 127.0.0.1:${NBD_PORT} or [::1]:${NBD_PORT}`);
  }
  return { address: (match[1] ?? match[2])!, port };
}

function warn(place: NbdPlace, terminal: Terminal): void {
  if ('path' in place || /^(127\.|::1$|localhost$)/.test(place.address)) return;
  terminal.note(
    `warning: whoever reaches ${place.address} can read and write these disks: NBD has no passwords and no encryption here`,
  );
}
