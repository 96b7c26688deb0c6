import { type FilterConfig, parseFilter } from '@nvbraid/blockdev';
import { configOf, createTarget, NvbraidError, type Target, type TargetPort, type ZonedOptions } from 'nvbraid';
import { command } from '../command.ts';
import {
  type ChosenDevice,
  chooseDevices,
  DEFAULT_SIZE,
  defaultNqn,
  namespaceOptions,
  withWayOut,
} from '../device-choice.ts';
import { KeptFiles } from '../kept-files.ts';
import { listenForDiscovery, listenForIo } from '../listening.ts';
import { listenOptions, outputOptions, ownSocketOptions } from '../options.ts';
import { parseListener } from '../path-option.ts';
import { reactorsOf, serveConfig } from '../serve-config.ts';
import { describeServed } from '../serve-greeting.ts';
import { ServeRun } from '../serve-run.ts';
import { formatSize } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import { UsageError } from '../usage-error.ts';

const SIZE_MAX = Number.MAX_SAFE_INTEGER;
export const REACTORS_MAX = 64;
const NAMESPACES_MAX = 128;
const MAX_ZONES = 65536;

export const serve = command({
  name: 'serve',
  summary: 'Serve files, block devices or memory as NVMe namespaces',
  description: [
    'Each FILE becomes a namespace of one subsystem, numbered from 1 on. A file that exists is served as it is; one that does not is made, sparse, when --size is given. Without FILE the namespace is in memory and gone when the command ends.',
    'Also answers discovery, on port 8009 too where that is free. Ctrl-C or SIGTERM ends all associations, makes everything stable and stops; a second one stops at once.',
    'Anybody who can reach the address can read and write. The default address is this machine only; use --allow-host to name the hosts that may connect.',
  ],
  options: {
    ...listenOptions,
    listen: {
      type: 'list',
      value: 'ADDR[:PORT][,transport=NAME]',
      help: 'One more port by which hosts reach the subsystem, as 10.0.0.2:4420,transport=mptcp',
    },
    'allow-fallback': {
      type: 'flag',
      help: 'Take plain TCP connections at ports of mptcp, which otherwise refuse them',
    },
    nqn: { type: 'text', short: 'n', value: 'NQN', help: 'Subsystem NQN (default: made of host name and file name)' },
    size: {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: SIZE_MAX,
      help: `Size of a file that is made, or of the memory (default for memory: ${formatSize(DEFAULT_SIZE)})`,
    },
    'block-size': {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: 65536,
      help: 'Logical block size (default: 512 for files, unless they hold a GPT for 4096; 4096 for memory)',
    },
    'read-only': { type: 'flag', help: 'Refuse writes' },
    memory: { type: 'flag', help: 'Serve memory: the same as no FILE' },
    reactors: {
      type: 'number',
      value: 'NUMBER',
      min: 0,
      max: REACTORS_MAX,
      help: 'Threads that run I/O queues; 0 runs them on the main thread (default: 1, with -t net 0)',
    },
    filter: {
      type: 'list',
      value: 'FILTER',
      help: 'Filter on each namespace, e.g. delay,read=5ms; the first is nearest to the host; see filter-set',
    },
    'zone-size': {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: SIZE_MAX,
      help: 'Makes zoned namespaces, of zones of so many bytes, a power of two',
    },
    'zone-capacity': {
      type: 'size',
      value: 'BYTES',
      min: 512,
      max: SIZE_MAX,
      help: 'Bytes of a zone that can be written (default: all)',
    },
    'max-open-zones': {
      type: 'number',
      value: 'NUMBER',
      min: 0,
      max: MAX_ZONES,
      help: 'Zones that may be open at a time (default: as many as may be active)',
    },
    'max-active-zones': {
      type: 'number',
      value: 'NUMBER',
      min: 0,
      max: MAX_ZONES,
      help: 'Zones that may be open or closed at a time (default: 0, no limit)',
    },
    'allow-host': { type: 'list', value: 'NQN', help: 'Host that may connect; without this option any host may' },
    serial: { type: 'text', value: 'TEXT', help: 'Serial number, at most 20 characters (default: made of the NQN)' },
    'no-discovery': { type: 'flag', help: 'Do not listen on port 8009' },
    config: {
      type: 'text',
      value: 'FILE',
      completes: 'file',
      help: 'Serve what a configuration says, as nvmetcli saves it; SIGHUP reads it again',
    },
    ...ownSocketOptions,
    ...outputOptions,
  },
  operands: { value: 'FILE', help: 'Image file or block device', min: 0, max: NAMESPACES_MAX, completes: 'file' },
  examples: [
    { line: 'nvbraid serve disk.img', help: 'an image, e.g. made by mkfs.ext4, for this machine' },
    { line: 'nvbraid serve new.img --size 10GiB -a 0.0.0.0', help: 'a new image of 10 GiB, for other machines' },
    {
      line: 'nvbraid serve disk.img -t mptcp -a 10.0.0.1 --listen 10.0.0.1:4421,transport=tcp',
      help: 'Multipath TCP, and TCP beside it',
    },
    { line: 'nvbraid serve --memory --size 4GiB --reactors 2', help: 'memory, with two threads' },
    { line: 'nvbraid serve /dev/sdb --read-only', help: 'a whole disk, read-only' },
    { line: 'nvbraid serve zns.img --size 4GiB --zone-size 64MiB', help: 'a zoned namespace' },
    { line: 'nvbraid serve --filter stats --filter "delay,read=p50=1ms p99=50ms"', help: 'a slow disk, and how slow' },
    { line: 'nvbraid serve --config /etc/nvmet/config.json', help: 'what nvmetcli has saved' },
  ],
  async run({ options, operands, given, terminal }) {
    if (options.config !== undefined) {
      checkAlone(given, operands);
      return serveConfig({ ...options, config: options.config }, terminal);
    }
    if (options.memory && operands.length > 0) throw new UsageError('--memory and FILE exclude each other');
    if (options.memory && options['read-only']) throw new UsageError('--memory and --read-only exclude each other');
    const filters = options.filter.map(filterOf);
    const zoned = zonedOf(options);
    const listeners = options.listen.map((text) => parseListener(text, options));
    const reactors = reactorsOf(options, listeners);
    const json = options['output-format'] === 'json';
    using stop = new StopSignal(() => {
      if (!json) terminal.note('stopping; once more stops at once');
    });
    const wishes = { size: options.size, blockSize: options['block-size'], readOnly: options['read-only'] };
    const devices = await chooseDevices(operands, wishes);
    const nqn = options.nqn ?? defaultNqn(operands[0]);
    const target = await createTarget({ reactors });
    const kept = new KeptFiles();
    let run: ServeRun | null = null;
    try {
      target.addSubsystem({
        nqn,
        ...(options.serial === undefined ? {} : { serial: options.serial }),
        ...(options['allow-host'].length === 0 ? {} : { allowAnyHost: false, allowedHosts: options['allow-host'] }),
      });
      const allowFallback = options['allow-fallback'];
      const io = await listenForIo(target, { ...options, allowFallback });
      const others: TargetPort[] = [];
      for (const one of listeners) others.push(await listenForIo(target, { ...one, allowFallback }));
      for (const device of devices) {
        await addNamespace(target, nqn, device, options['read-only'], filters, zoned);
        await kept.add(device);
      }
      for (const { portid } of [io, ...others]) await target.link(portid, nqn);
      const discovery = options['no-discovery']
        ? `on port ${io.port} alone`
        : await listenForDiscovery(target, { ...options, allowFallback }, io);
      const ports: TargetPort[] = typeof discovery === 'string' || discovery === io ? [io] : [io, discovery];
      const noDiscovery = typeof discovery === 'string' ? discovery : discovery === io ? `on port ${io.port}` : null;
      const served = { target, nqn, devices, ports, others, noDiscovery };
      run = new ServeRun(
        {
          target,
          config: configOf(target, { transport: options.transport }),
          file: null,
          describe: (socket) => describeServed(served, socket, terminal),
          facts: { noDiscovery },
        },
        terminal,
        json,
      );
      await run.run(options.socket, stop);
    } finally {
      await target.close();
      await kept.settle();
    }
    run.summary();
    return 0;
  },
});

/** What a configuration says cannot be said on the command line too. */
const BESIDE_CONFIG = new Set(['config', 'transport', 'reactors', 'socket', 'output-format']);

function checkAlone(given: ReadonlySet<string>, operands: readonly string[]): void {
  if (operands.length > 0)
    throw new UsageError('--config and FILE exclude each other: the configuration names the devices');
  const other = [...given].find((name) => !BESIDE_CONFIG.has(name));
  if (other === undefined) return;
  throw new UsageError(`--config and --${other} exclude each other: put it into the configuration`);
}

/** The zones that the options ask for. @throws UsageError */
function zonedOf(options: {
  readonly 'zone-size': number | undefined;
  readonly 'zone-capacity': number | undefined;
  readonly 'max-open-zones': number | undefined;
  readonly 'max-active-zones': number | undefined;
}): ZonedOptions | undefined {
  const zoneSize = options['zone-size'];
  if (zoneSize === undefined) {
    for (const name of ['zone-capacity', 'max-open-zones', 'max-active-zones'] as const) {
      if (options[name] !== undefined) throw new UsageError(`--${name} needs --zone-size`);
    }
    return undefined;
  }
  const zoneCapacity = options['zone-capacity'] ?? zoneSize;
  return {
    zoneSize,
    zoneCapacity,
    maxOpen: options['max-open-zones'] ?? 0,
    maxActive: options['max-active-zones'] ?? 0,
  };
}

function filterOf(text: string): FilterConfig {
  try {
    return parseFilter(text);
  } catch (error) {
    if (error instanceof NvbraidError && error.code === 'EINVAL') throw new UsageError(`--filter: ${error.message}`);
    throw error;
  }
}

/** Puts a device into service. @throws NvbraidError with a way out where there is one */
export async function addNamespace(
  target: Target,
  nqn: string,
  device: ChosenDevice,
  readOnly: boolean,
  filters: readonly FilterConfig[] = [],
  zoned?: ZonedOptions,
): Promise<number> {
  try {
    return await target.addNamespace(nqn, {
      ...namespaceOptions(device),
      filters,
      ...(zoned === undefined ? {} : { zoned }),
    });
  } catch (error) {
    throw withWayOut(error, device, readOnly);
  }
}
