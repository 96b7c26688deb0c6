/*
 * What selecting a path costs: nanoseconds for each policy and number of paths, against a scan over four plain objects
 * that somebody might have written by hand, in the same run; and a proof that neither selection nor submission
 * allocates. `node bench/multipath/selection.ts [--json] [--quick]`
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AccessState, Bio, Head, Iopolicy, Path, SELECTORS } from '@nvbraid/multipath';

export interface Measured {
  /** `guarded`: with quarantine. */
  policy: string;
  paths: number;
  /** Median over the rounds. */
  selectNs: number;
  /** Select, send, end: everything the library does for one request. */
  requestNs: number;
  /** Median of the rounds' ratios of selecting to the hand-written scan over four objects. */
  ratio: number;
  selectBytes: number;
  requestBytes: number;
}

class BenchPath extends Path {
  disabled = false;
}

/**
 * Whole milliseconds out of nowhere, as of a loop that reads the clock once per turn. A clock that answers fractions may
 * cost 16 bytes whenever it is read: the engine keeps such numbers on the heap. That is not the library's to measure.
 */
let ticks = 0;
const clock = { nowMs: (): number => (ticks = (ticks + 1) & 0x3fffffff) >> 10 };

/** A driver as small as it can be: the last bio is kept and ended by the caller. */
class World {
  readonly iopolicy: Iopolicy;
  readonly head: Head<BenchPath>;
  readonly bio = new Bio();

  constructor(policy: string, paths: number, quarantine = false) {
    this.iopolicy = new Iopolicy({ initial: policy });
    this.head = new Head<BenchPath>({
      name: 'bench',
      template: TEMPLATE,
      iopolicy: this.iopolicy,
      clock,
      ...(quarantine ? { quarantine: {} } : {}),
    });
    this.head.allocDisk({ name: 'bench', parent: this, capacityBytes: 2 ** 40 });
    for (let i = 0; i < paths; i++) {
      const path = new BenchPath({ name: `path${i}`, accessState: AccessState.Optimized });
      path.nrActive.value = 1 + i;
      this.head.addPath(path);
    }
    this.bio.bytes = 4096;
    this.bio.end = () => {};
  }
}

const TEMPLATE = {
  isDisabled: (path: BenchPath): boolean => path.disabled,
  isOptimized: (path: BenchPath): boolean => path.accessState === AccessState.Optimized,
  availablePath: (): boolean => true,
  submitBio: (): void => {},
  removeHead: (): void => {},
  probePath: (): void => {},
};

interface Plain {
  disabled: boolean;
  optimized: boolean;
  depth: number;
}

const plain: Plain[] = [1, 2, 3, 4].map((depth) => ({ disabled: false, optimized: true, depth }));

/** The measure of all others: the least busy of four, by hand. */
function scan(): Plain | null {
  let best: Plain | null = null;
  let other: Plain | null = null;
  for (let i = 0; i < plain.length; i++) {
    const path = plain[i]!;
    if (path.disabled) continue;
    if (path.optimized) {
      if (best === null || path.depth < best.depth) best = path;
    } else if (other === null || path.depth < other.depth) other = path;
  }
  return best ?? other;
}

let sink = 0;

function runScan(times: number): void {
  for (let i = 0; i < times; i++) if (scan() !== null) sink++;
}

function runSelect(head: Head<BenchPath>, times: number): void {
  for (let i = 0; i < times; i++) if (head.findPath(0, 4096) !== null) sink++;
}

function runRequests(head: Head<BenchPath>, bio: Bio, times: number): void {
  for (let i = 0; i < times; i++) {
    head.submitBio(bio);
    head.endBio(bio, 0);
  }
}

function nsEach(run: (times: number) => void, times: number): number {
  const start = performance.now();
  run(times);
  return ((performance.now() - start) * 1e6) / times;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/**
 * Bytes that each of `times` calls leaves on the heap; so few calls that no collection happens in between. The smallest
 * of several runs: what the compiler leaves while it is still at work is not the code's.
 */
function bytesEach(run: (times: number) => void, times: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 9; i++) {
    collect();
    const before = process.memoryUsage().heapUsed;
    run(times);
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / times);
  }
  return Math.max(0, least);
}

export function measure(quick: boolean): { scanNs: number; cases: Measured[] } {
  const times = quick ? 20_000 : 300_000;
  const rounds = quick ? 3 : 15;
  const worlds = SELECTORS.flatMap(({ name }) =>
    [1, 4, 64].map((paths) => ({ policy: name, paths, world: new World(name, paths) })),
  );
  worlds.push({ policy: 'numa, guarded', paths: 4, world: new World('numa', 4, true) });
  const scans: number[] = [];
  const results = worlds.map(() => ({ select: [] as number[], request: [] as number[], ratio: [] as number[] }));
  // Everything is run before anything is measured: what one case teaches the compiler holds for all.
  for (const { world } of worlds) {
    runSelect(world.head, 50_000);
    runRequests(world.head, world.bio, 50_000);
  }
  runScan(200_000);
  for (let round = 0; round < rounds; round++) {
    worlds.forEach(({ world, paths }, i) => {
      const result = results[i]!;
      const share = paths > 4 ? times / 8 : times;
      const scanNs = nsEach(runScan, times);
      const selectNs = nsEach((n) => runSelect(world.head, n), share);
      scans.push(scanNs);
      result.select.push(selectNs);
      result.ratio.push(selectNs / scanNs);
      result.request.push(nsEach((n) => runRequests(world.head, world.bio, n), share));
    });
  }
  const cases = worlds.map(({ policy, paths, world }, i) => ({
    policy,
    paths,
    selectNs: median(results[i]!.select),
    requestNs: median(results[i]!.request),
    ratio: median(results[i]!.ratio),
    selectBytes: bytesEach((n) => runSelect(world.head, n), 20_000),
    requestBytes: bytesEach((n) => runRequests(world.head, world.bio, n), 20_000),
  }));
  return { scanNs: median(scans), cases };
}

if (import.meta.main) {
  const { scanNs, cases } = measure(process.argv.includes('--quick'));
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ scanNs, cases }));
  } else {
    console.log(`a hand-written scan over four plain objects: ${scanNs.toFixed(1)} ns\n`);
    console.log('policy         paths  select ns  ratio  request ns  bytes per select  bytes per request');
    for (const { policy, paths, selectNs, ratio, requestNs, selectBytes, requestBytes } of cases) {
      const cells = [
        policy.padEnd(13),
        String(paths).padStart(6),
        selectNs.toFixed(1).padStart(10),
        ratio.toFixed(2).padStart(6),
        requestNs.toFixed(1).padStart(11),
        selectBytes.toFixed(3).padStart(17),
        requestBytes.toFixed(3).padStart(18),
      ];
      console.log(cells.join(' '));
    }
  }
  if (sink < 0) console.log(sink);
}
