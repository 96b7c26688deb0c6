import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { outputOptions, processOptions } from '../options.ts';
import { allStatuses, isConnected } from '../process-list.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';
import { compareSamples, type Sample, topLines } from '../top-view.ts';

const { socket } = processOptions;
const CTRL_C = 0x03;
const SECOND_MS = 1000;

export const top = command({
  name: 'top',
  summary: 'Watch paths: state, ANA, depth, IOPS, latency, failovers',
  description: [
    'Asks every nvbraid connect that runs here once a second. On a terminal the view is drawn in place; q or Ctrl-C ends it. Elsewhere one table follows the other, and with -o json one line of JSON, the first after a second.',
    'Waiting are commands that no path has; requeues and failures are how often a command had to wait, and how often none was left. Failover p99 is the time from the first failure of a command to its end by another path. The latency of single paths is measured by the iopolicy service-time only.',
    'By Multipath TCP a third table shows the subflows: all those between the same two addresses are one line, whatever queue they belong to. With -o json each stands for itself.',
  ],
  options: {
    delay: {
      type: 'seconds',
      short: 'd',
      value: 'SECONDS',
      min: 0.1,
      max: 3600,
      default: 1,
      help: 'Time between two looks',
    },
    count: {
      type: 'number',
      short: 'n',
      value: 'NUMBER',
      min: 1,
      max: 1e9,
      help: 'Looks, then end (default: until it is stopped)',
    },
    socket: { ...socket, help: 'Control socket of the only process to watch' },
    ...outputOptions,
  },
  examples: [
    { line: 'nvbraid top', help: 'on a terminal' },
    { line: 'nvbraid top -o json -n 60', help: 'a minute of numbers, for a script' },
  ],
  async run({ options, terminal }) {
    using stop = new StopSignal();
    using _keys = keysThatStop(terminal, stop);
    const json = options['output-format'] === 'json';
    const { count = Number.POSITIVE_INFINITY } = options;
    let before: Sample | null = null;
    try {
      for (let looks = 0; looks < count; ) {
        const sample = await takeSample(options.socket, before !== null);
        if (stop.stopped) break;
        if (sample.found.length === 0) {
          if (before === null) throw new NvbraidError('ENOENT', 'no nvbraid connect is running here');
          terminal.endScreen();
          terminal.note('No nvbraid connect is running here any more.');
          break;
        }
        // Rates need two samples: a person sees the rest at once, a script waits for whole lines.
        if (before !== null || !json) {
          looks++;
          show(before, sample, json, terminal, options.delay);
        }
        before = sample;
        if (looks < count) await pause(options.delay * SECOND_MS, stop.signal);
        if (stop.stopped) break;
      }
    } finally {
      terminal.endScreen();
    }
    return 0;
  },
});

async function takeSample(only: string | undefined, again: boolean): Promise<Sample> {
  try {
    const found = (await allStatuses(only, null, 'top')).filter(isConnected);
    return { found, atMs: performance.now() };
  } catch (error) {
    // The process that was named has ended.
    if (again && error instanceof NvbraidError) return { found: [], atMs: performance.now() };
    throw error;
  }
}

function show(before: Sample | null, sample: Sample, json: boolean, terminal: Terminal, delay: number): void {
  const subsystems = compareSamples(before, sample);
  const now = new Date();
  if (json) {
    terminal.json({ time: now.toISOString(), subsystems }, 0);
    return;
  }
  const time = now.toTimeString().slice(0, 8);
  const lines = topLines(subsystems, terminal);
  if (terminal.live) {
    terminal.screen([`nvbraid top  ${time}  every ${delay} s, q ends`, '', ...lines]);
  } else {
    for (const line of [time, ...lines, '']) terminal.line(line);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

/** On a terminal, keys come one by one: q and Ctrl-C stop. */
function keysThatStop(terminal: Terminal, stop: StopSignal): Disposable {
  const { stdin } = process;
  if (!terminal.live || !stdin.isTTY) return { [Symbol.dispose]: () => {} };
  const onData = (bytes: Buffer): void => {
    if (bytes.includes(CTRL_C) || bytes.includes('q') || bytes.includes('Q')) stop.stop();
  };
  stdin.setRawMode(true);
  stdin.on('data', onData);
  return {
    [Symbol.dispose]: () => {
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}
