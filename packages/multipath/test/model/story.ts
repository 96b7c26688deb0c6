/*
 * One seeded story, told to the library and to the reference at the same time. After every step both must have done
 * and remember the same, and what must hold whatever the rules are is checked besides.
 */
import assert from 'node:assert/strict';
import { FakeClock, Rng } from '@nvbraid/base';
import {
  AccessState,
  ActiveCounter,
  Bio,
  BioFlag,
  BioStatus,
  Disposition,
  Head,
  type HeadTemplate,
  Iopolicy,
  Outcome,
  Path,
  type PathOptions,
} from '../../src/index.ts';
import { type End, type Policy, type RefBio, Reference, type RefPath, type State } from './reference.ts';

const STATES: Record<State, AccessState> = {
  optimized: AccessState.Optimized,
  'non-optimized': AccessState.NonOptimized,
  other: AccessState.Other,
};
const OUTCOMES: Record<End, Outcome> = {
  ok: Outcome.Ok,
  'path error': Outcome.PathError,
  retryable: Outcome.Retryable,
  final: Outcome.Final,
};
const POLICIES: readonly Policy[] = ['numa', 'round-robin', 'queue-depth', 'service-time'];
const SOME_STATES: readonly State[] = [
  'optimized',
  'optimized',
  'optimized',
  'non-optimized',
  'non-optimized',
  'other',
];
const SOME_ENDS: readonly End[] = ['ok', 'ok', 'ok', 'path error', 'path error', 'retryable', 'retryable', 'final'];
const NODES = 3;
const COUNTERS = 3;
const MAX_PATHS = 6;
const MAX_BIOS = 24;

const distance = (from: number, to: number): number => (from === to ? 10 : 15 + ((from + to) % 3) * 5);

class StoryPath extends Path {
  readonly ref: RefPath;
  freed = false;

  constructor(options: PathOptions, ref: RefPath) {
    super(options);
    this.ref = ref;
  }
}

class StoryBio extends Bio {
  readonly ref: RefBio;
  /** Where the bio, or its clone, is now. */
  down: StoryBio | null = null;

  constructor(ref: RefBio) {
    super();
    this.ref = ref;
  }
}

export class Story {
  readonly #rng: Rng;
  readonly #clock = new FakeClock(10_000);
  readonly #iopolicy = new Iopolicy();
  readonly #head: Head<StoryPath, StoryBio>;
  readonly #reference = new Reference(NODES, COUNTERS, 10_000, distance);
  readonly #counters = Array.from({ length: COUNTERS }, () => new ActiveCounter());
  readonly #free: StoryBio[] = [];
  readonly #clones: StoryBio[] = [];
  readonly #leaving: StoryPath[] = [];
  #events: string[] = [];
  #under = 0;
  #nextId = 0;
  /** How often each kind of step was taken, so that a test can see that none is left out. */
  readonly taken = new Map<string, number>();
  submitted = 0;
  ended = 0;

  constructor(seed: number, clones: boolean) {
    this.#rng = new Rng(seed);
    this.#head = new Head<StoryPath, StoryBio>({
      name: 'story',
      template: this.#template(clones),
      iopolicy: this.#iopolicy,
      clock: this.#clock,
      nodeCount: NODES,
      distance,
    });
    this.#newDisk();
  }

  run(steps: number): void {
    const names = Object.keys(this.#steps);
    const weighted = names.flatMap((name) => new Array<string>(this.#steps[name]!.weight).fill(name));
    for (let i = 0; i < steps; i++) {
      const name = this.#rng.pick(weighted);
      this.taken.set(name, (this.taken.get(name) ?? 0) + 1);
      try {
        this.#steps[name]!.take();
        this.#compare();
      } catch (error) {
        throw new Error(`step ${i + 1} (${name}) of seed ${this.#rng.seed}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    }
    this.#finish();
  }

  readonly #steps: Record<string, { weight: number; take: () => void }> = {
    submit: { weight: 30, take: () => this.#submit() },
    end: { weight: 30, take: () => this.#end() },
    tick: { weight: 16, take: () => this.#tick(this.#rng.below(4) * 0.25) },
    wait: { weight: 1, take: () => this.#tick(this.#rng.below(5000)) },
    select: {
      weight: 6,
      take: () => {
        const node = this.#rng.below(NODES);
        const bytes = this.#rng.below(4) * 4096;
        assert.equal(this.#head.findPath(node, bytes)?.ref.id, this.#reference.select(node, bytes)?.id);
      },
    },
    add: { weight: 3, take: () => this.#add() },
    delete: { weight: 2, take: () => this.#onPath((path) => this.#delete(path)) },
    disable: {
      weight: 4,
      take: () =>
        this.#onPath((path) => {
          path.ref.disabled = !path.ref.disabled;
        }),
    },
    'change state': {
      weight: 4,
      take: () =>
        this.#onPath((path) => {
          path.ref.state = this.#rng.pick(SOME_STATES);
          path.accessState = STATES[path.ref.state];
        }),
    },
    'set live': {
      weight: 5,
      take: () =>
        this.#onPath((path) => {
          path.ref.disabled = false;
          this.#head.setLive(path);
          this.#reference.setLive(path.ref);
        }),
    },
    'clear path': {
      weight: 2,
      take: () =>
        this.#onPath((path) => {
          const held = this.#reference.slots.includes(path.ref);
          assert.equal(this.#head.clearCurrentPath(path), held);
          this.#reference.empty(path.ref);
        }),
    },
    'clear paths': {
      weight: 1,
      take: () => {
        this.#head.clearPaths();
        this.#reference.emptyAll();
      },
    },
    hope: {
      weight: 2,
      take: () =>
        this.#onPath((path) => {
          path.ref.hopeful = !path.ref.hopeful;
        }),
    },
    kick: {
      weight: 2,
      take: () => {
        this.#head.kickRequeue();
        this.#reference.kick();
      },
    },
    revalidate: {
      weight: 1,
      take: () => {
        this.#head.revalidatePaths(() => assert.fail('all have the same capacity'));
        this.#reference.emptyAll();
        this.#reference.kick();
      },
    },
    'change policy': {
      weight: 2,
      take: () => {
        const policy = this.#rng.pick(POLICIES);
        assert.ok(this.#iopolicy.store(policy));
        this.#reference.setPolicy(policy);
      },
    },
    'delay removal': {
      weight: 1,
      take: () => {
        const secs = this.#rng.below(4);
        this.#head.removal.store(String(secs), this.#clock.nowMs());
        this.#reference.setSecs(secs);
      },
    },
  };

  #template(clones: boolean): HeadTemplate<StoryPath, StoryBio> {
    const see = (path: StoryPath): RefPath => {
      assert.ok(!path.freed, 'a freed path was seen');
      return path.ref;
    };
    const plain: HeadTemplate<StoryPath, StoryBio> = {
      isDisabled: (path) => see(path).disabled,
      isOptimized: (path) => !see(path).disabled && path.accessState === AccessState.Optimized,
      availablePath: (path) => see(path).hopeful,
      submitBio: (path, bio) => this.#sent(path, bio),
      removeHead: () => {
        this.#head.putDisk();
        this.#events.push('removed');
        this.#newDisk();
      },
    };
    if (!clones) return plain;
    return {
      ...plain,
      cloneBio: (bio) => this.#clones.pop() ?? new StoryBio(bio.ref),
      freeClone: (clone) => {
        clone.down = null;
        this.#clones.push(clone);
      },
    };
  }

  #newDisk(): void {
    this.#head.allocDisk({ name: 'story0', parent: this, capacityBytes: 2 ** 40 });
    this.#head.diskLive = true;
  }

  /** The driver is given a bio: what may never happen does not happen here. */
  #sent(path: StoryPath, bio: StoryBio): void {
    const { paths } = this.#head;
    assert.ok(paths.includes(path), 'sent down a path that is gone');
    assert.ok(!path.ref.disabled, 'sent down a disabled path');
    const alone = this.#iopolicy.show() === 'round-robin' && paths.length === 1;
    if (path.ref.state !== 'optimized' && !alone) {
      assert.equal(path.ref.state, 'non-optimized');
      assert.ok(!paths.some(({ ref }) => !ref.disabled && ref.state === 'optimized'), 'an optimized path was left out');
    }
    assert.equal(bio.flags & (BioFlag.Mpath | BioFlag.Remapped), BioFlag.Mpath | BioFlag.Remapped);
    const original = bio.original ?? bio;
    original.down = bio;
    this.#under++;
    this.#events.push(`${original.ref.id} > ${path.ref.id}`);
  }

  #submit(): void {
    if (this.submitted - this.ended >= MAX_BIOS) return;
    const rng = this.#rng;
    const bio = this.#free.pop() ?? this.#newBio();
    const { ref } = bio;
    ref.node = rng.below(NODES);
    ref.bytes = bio.bytes = rng.below(4) * 4096;
    ref.noRetry = rng.chance(0.1);
    bio.flags = ref.noRetry ? BioFlag.NoRetry : 0;
    this.submitted++;
    this.#head.submitBio(bio, ref.node);
    this.#reference.submit(ref);
  }

  #newBio(): StoryBio {
    const none = {
      node: 0,
      bytes: 0,
      noRetry: false,
      path: null,
      retries: 0,
      counted: false,
      timed: false,
      started: 0,
    };
    const bio = new StoryBio({ id: this.#nextId++, ...none });
    bio.end = (same) => {
      assert.equal(same.flags & BioFlag.Active, 0);
      assert.ok(!this.#free.includes(same), 'ended twice');
      this.ended++;
      this.#events.push(`${same.ref.id} = ${same.status === BioStatus.Ok ? 'ok' : 'failed'}`);
      this.#free.push(same);
    };
    this.#bios.set(bio.ref, bio);
    return bio;
  }

  readonly #bios = new Map<RefBio, StoryBio>();

  #end(): void {
    const { flying } = this.#reference;
    if (flying.length === 0) return;
    this.#endOne(this.#bios.get(this.#rng.pick(flying))!, this.#rng.pick(SOME_ENDS));
  }

  #endOne(bio: StoryBio, how: End): void {
    const retry = this.#reference.end(bio.ref, how);
    const down = bio.down!;
    this.#under--;
    const disposition = this.#head.endBio(down, OUTCOMES[how]);
    assert.equal(disposition === Disposition.Retry, retry);
    if (retry) this.#under++;
    else if (bio.down === down) bio.down = null;
  }

  #tick(ms: number): void {
    this.#clock.advance(ms);
    this.#reference.now = this.#clock.nowMs();
    this.#head.tick(this.#clock.nowMs());
    this.#reference.tick();
    this.#leaving.forEach((path, i) => {
      if (path.refs > 0) return;
      path.freed = true;
      this.#leaving.splice(i, 1);
    });
  }

  #add(): void {
    const { paths } = this.#reference;
    if (paths.length >= MAX_PATHS) return;
    const rng = this.#rng;
    const ref: RefPath = {
      id: this.#nextId++,
      state: rng.pick(SOME_STATES),
      disabled: rng.chance(0.2),
      hopeful: rng.chance(0.7),
      node: rng.below(NODES + 1) - 1,
      counter: rng.below(COUNTERS),
      latency: Infinity,
      sampled: -Infinity,
      bytes: 0,
    };
    const path = new StoryPath(
      {
        name: `path${ref.id}`,
        accessState: STATES[ref.state],
        numaNode: ref.node,
        nrActive: this.#counters[ref.counter]!,
      },
      ref,
    );
    this.#head.addPath(path);
    this.#reference.add(ref);
  }

  #delete(path: StoryPath): void {
    this.#reference.delete(path.ref);
    const empty = this.#head.deletePath(path);
    assert.equal(empty, this.#reference.paths.length === 0);
    if (empty) assert.equal(this.#head.canRemoveHead(), this.#reference.removalDue === null);
    this.#leaving.push(path);
  }

  #onPath(take: (path: StoryPath) => void): void {
    const { paths } = this.#head;
    if (paths.length > 0) take(this.#rng.pick(paths));
  }

  #compare(): void {
    const head = this.#head;
    const reference = this.#reference;
    const expected = reference.events;
    assert.equal(this.#events.join(), expected.join());
    if (expected.length > 0) {
      this.#events = [];
      reference.events = [];
    }
    for (let node = 0; node < NODES; node++) {
      assert.equal(head.currentPath[node]?.ref, reference.slots[node] ?? undefined, `slot of node ${node}`);
    }
    for (let i = 0; i < COUNTERS; i++) assert.equal(this.#counters[i]!.value, reference.counters[i]);
    const queued = head.queued();
    assert.equal(queued.length, reference.queue.length);
    for (let i = 0; i < queued.length; i++) assert.equal(queued[i]!.ref, reference.queue[i], 'order of the queue');
    assert.equal(this.submitted, this.ended + this.#under + queued.length, 'a bio is lost');
    assert.equal(head.requeueNoUsablePathCount, reference.requeued);
    assert.equal(head.failNoAvailablePathCount, reference.failed);
    assert.equal(head.nextDeadlineMs() === Number.NEGATIVE_INFINITY, reference.kicked);
    assert.equal(head.removal.pending, reference.removalDue !== null);
    let bytes = 0;
    for (const path of head.paths) bytes += path.refs;
    for (const path of this.#leaving) bytes += path.refs;
    assert.equal(bytes, this.#under, 'references to paths');
    for (let i = 0; i < head.paths.length; i++) {
      const path = head.paths[i]!;
      assert.equal(path.ref, reference.paths[i]);
      assert.equal(path.inflightBytes, path.ref.bytes);
      assert.equal(path.latencyMs, path.ref.latency);
    }
  }

  /** A path comes, and everything that is open ends. */
  #finish(): void {
    while (this.#head.paths.length >= MAX_PATHS) this.#delete(this.#head.paths[0]!);
    this.#add();
    const path = this.#head.paths.at(-1)!;
    path.ref.disabled = false;
    path.ref.state = 'optimized';
    path.accessState = AccessState.Optimized;
    this.#head.setLive(path);
    this.#reference.setLive(path.ref);
    this.#tick(0);
    this.#compare();
    assert.equal(this.#head.queued().length, 0, 'what was queued moves');
    while (this.#reference.flying.length > 0) this.#endOne(this.#bios.get(this.#reference.flying[0]!)!, 'ok');
    this.#compare();
    assert.equal(this.ended, this.submitted);
  }
}
