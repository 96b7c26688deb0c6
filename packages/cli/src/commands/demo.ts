import { randomInt } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ControlServer, ownSocketPath } from '@nvbraid/manage';
import { createTarget, NvbraidError } from 'nvbraid';
import type { Address } from '../association.ts';
import { command } from '../command.ts';
import { DemoTraffic } from '../demo-traffic.ts';
import { chooseFile, DEFAULT_SIZE, defaultNqn } from '../device-choice.ts';
import { fileProblem } from '../file-error.ts';
import { KeptFiles } from '../kept-files.ts';
import { connectLines, describePort, listenForDiscovery, listenForIo } from '../listening.ts';
import { servedAddress } from '../open-session.ts';
import { listenOptions, ownSocketOptions } from '../options.ts';
import { handsOff } from '../serve-config.ts';
import { type Served, serveStatus } from '../serve-status.ts';
import { formatDuration, formatSize } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { addNamespace } from './serve.ts';

const DEFAULT_PATH = 'data/nvbraid.img';
const DEMO_BLOCK_SIZE = 4096;
const TTY_MS = 1000;
const LINE_MS = 5000;

export const demo = command({
  name: 'demo',
  summary: 'Show everything at once: a target, a host, and verified traffic between them',
  description: [
    `Serves a namespace, connects to it with the host of nvbraid, writes a pattern to its first 16 MiB, reads it back and checks it, and goes on with reads and writes that are checked block by block, until Ctrl-C. Without FILE the namespace is the sparse file ./${DEFAULT_PATH}, which belongs to the demo.`,
    'A FILE that exists is only read, and every block must always read the same: nothing in it is changed unless --write is given, which overwrites its first 16 MiB. The traffic ends when another host connects, so that its data is safe.',
  ],
  options: {
    ...listenOptions,
    size: {
      type: 'size',
      value: 'BYTES',
      min: 1024 * 1024,
      max: Number.MAX_SAFE_INTEGER,
      help: `Size of a FILE that is made; for ./${DEFAULT_PATH} 1 GiB`,
    },
    write: { type: 'flag', help: 'Overwrite the first 16 MiB of a FILE that exists' },
    runtime: {
      type: 'seconds',
      value: 'SECONDS',
      min: 0.1,
      max: 86400,
      help: 'Stop after this time (default: at Ctrl-C)',
    },
    iodepth: { type: 'number', value: 'NUMBER', min: 1, max: 1024, default: 16, help: 'Operations under way' },
    ...ownSocketOptions,
  },
  operands: { value: 'FILE', help: 'Image file or block device', min: 0, max: 1, completes: 'file' },
  examples: [
    { line: 'npm start', help: 'in the clone: the same as nvbraid demo' },
    { line: 'npm start -- -s 4421', help: 'on another port' },
    { line: 'nvbraid demo disk.img', help: 'an image of your own, which is only read' },
  ],
  async run({ options, operands, terminal }) {
    const [path = DEFAULT_PATH] = operands;
    const own = operands.length === 0;
    if (own) await makeDirectory(path);
    const wishes = {
      size: options.size ?? (own ? DEFAULT_SIZE : undefined),
      blockSize: own ? DEMO_BLOCK_SIZE : undefined,
      readOnly: false,
    };
    const device = await chooseFile(path, own && options.size === undefined ? await asItIs(path, wishes) : wishes);
    const mayWrite = own || device.made || options.write;
    const startedMs = performance.now();
    using stop = new StopSignal(() => terminal.note('stopping; once more stops at once'));
    const nqn = defaultNqn(path);
    const target = await createTarget({ reactors: handsOff(options.transport) ? 1 : 0 });
    const kept = new KeptFiles();
    try {
      target.addSubsystem({ nqn });
      const io = await listenForIo(target, options);
      await addNamespace(target, nqn, device, false);
      await kept.add(device);
      await target.link(io.portid, nqn);
      const discovery = await listenForDiscovery(target, options, io);
      const ports = typeof discovery === 'string' || discovery === io ? [io] : [io, discovery];
      const served: Served = {
        target,
        nqn,
        devices: [device],
        ports,
        noDiscovery: typeof discovery === 'string' ? discovery : null,
      };
      const server = await ControlServer.listen({
        path: options.socket ?? ownSocketPath('serve'),
        methods: { status: () => serveStatus(target, startedMs) },
      });
      try {
        announce(
          served,
          terminal,
          own ? "the demo's own" : mayWrite ? 'its first 16 MiB will be overwritten' : 'only read',
        );
        await traffic(served, servedAddress(await serveStatus(target, startedMs)), options, mayWrite, stop, terminal);
      } finally {
        terminal.endStatus();
        await server.close();
      }
    } finally {
      await target.close();
      await kept.settle();
    }
    const time = formatDuration(performance.now() - startedMs);
    const end = mayWrite ? `Everything that was written is in ${path}.` : `Nothing in ${path} was changed by the demo.`;
    terminal.line(`Stopped after ${time}. ${end}`);
    return 0;
  },
});

interface TrafficOptions {
  readonly runtime: number | undefined;
  readonly iodepth: number;
}

async function traffic(
  served: Served,
  address: Address,
  options: TrafficOptions,
  mayWrite: boolean,
  stop: StopSignal,
  terminal: Terminal,
): Promise<void> {
  const demo = await DemoTraffic.connect(address, { iodepth: options.iodepth, mayWrite, seed: randomInt(0x100000000) });
  try {
    served.target.on('controller-created', (controller) => {
      if (controller.hostnqn === demo.hostnqn || demo.yielded) return;
      terminal.line(`another host has connected (${controller.hostnqn}): the traffic of the demo ends here`);
      void demo.yield();
    });
    if (mayWrite) {
      const { blocks, bytes } = await demo.pattern(stop.signal);
      if (!stop.stopped)
        terminal.line(`pattern: ${formatSize(bytes)} written and read back, ${blocks} blocks verified`);
    }
    demo.start();
    const timer = options.runtime === undefined ? null : setTimeout(() => stop.stop(), options.runtime * 1000);
    const ticker = setInterval(() => show(demo, terminal), terminal.live ? TTY_MS : LINE_MS);
    await Promise.race([stop.wait(), demo.failed()]);
    clearInterval(ticker);
    if (timer !== null) clearTimeout(timer);
    const { verified, operations } = await demo.finish((share) => {
      terminal.status(`reading back ${Math.round(share * 100)} %`);
    });
    terminal.endStatus();
    if (demo.error !== null) throw demo.error;
    terminal.line(`${operations} operations, ${verified} blocks verified, no error`);
  } catch (error) {
    for (const line of demo.violationHistory) terminal.note(`  ${line}`);
    throw error;
  } finally {
    await demo.disconnect();
  }
}

function show(demo: DemoTraffic, terminal: Terminal): void {
  const { state } = demo;
  const text = `${terminal.style(state === 'live' ? 'green' : 'yellow', state)}  ${demo.progress()}`;
  if (terminal.live) terminal.status(text);
  else terminal.line(text);
}

function announce({ target, nqn, devices, ports, noDiscovery }: Served, terminal: Terminal, use: string): void {
  const [io, discovery] = ports;
  const [namespace] = target.core.subsystem(nqn)!.namespaces;
  const { blockSize, blockCount } = namespace!;
  const { name, made } = devices[0]!;
  const how = made ? 'made now, sparse' : use;
  terminal.line(`target: ${terminal.style('bold', nqn)} on ${describePort(io!)}`);
  terminal.line(
    `  namespace 1: ${name}, ${formatSize(blockSize * blockCount)} in blocks of ${blockSize} bytes, ${how}`,
  );
  terminal.line(
    `  discovery: ${discovery === undefined ? (noDiscovery ?? describePort(io!)) : describePort(discovery)}`,
  );
  for (const line of connectLines(io!, nqn)) terminal.line(line);
  terminal.line('Ctrl-C stops.');
}

/** The demo's own file may have been made with another size. */
async function asItIs(
  path: string,
  wishes: Parameters<typeof chooseFile>[1],
): Promise<Parameters<typeof chooseFile>[1]> {
  try {
    await chooseFile(path, { ...wishes, size: undefined });
    return { ...wishes, size: undefined };
  } catch (error) {
    if (error instanceof NvbraidError && error.code === 'ENOENT') return wishes;
    throw error;
  }
}

async function makeDirectory(path: string): Promise<void> {
  const directory = dirname(path);
  try {
    await mkdir(directory, { recursive: true });
  } catch (error) {
    throw new NvbraidError(
      'EACCES',
      `cannot make the directory ${directory}: ${fileProblem(error)}; name a FILE elsewhere`,
      {
        cause: error,
      },
    );
  }
}
