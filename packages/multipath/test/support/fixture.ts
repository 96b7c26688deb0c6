import { FakeClock } from '@nvbraid/base';
import {
  AccessState,
  Bio,
  Head,
  type HeadDiskOptions,
  type HeadOptions,
  type HeadTemplate,
  Iopolicy,
  Path,
  type PathDisk,
  type PathOptions,
} from '../../src/index.ts';

/** The simplest path: a driver's view of it is two booleans. */
export class TestPath extends Path {
  disabled = false;
  /** Worth to queue for. */
  hopeful = true;
}

export class TestBio extends Bio {
  readonly id: number;
  ends = 0;

  constructor(id: number, bytes = 4096) {
    super();
    this.id = id;
    this.bytes = bytes;
    this.end = (bio) => {
      bio.ends++;
    };
  }
}

export type TestTemplate = HeadTemplate<TestPath, TestBio>;

export interface Sent {
  path: TestPath;
  bio: TestBio;
}

export interface FixtureOptions {
  policy?: string;
  template?: Partial<TestTemplate>;
  head?: Partial<HeadOptions<TestPath, TestBio>>;
  disk?: Partial<HeadDiskOptions> | null;
  iopolicy?: Iopolicy;
  /** The disk is shown although no path has come to life. */
  live?: boolean;
}

/** A head with a driver that keeps what it is given, so that a test ends each bio as it likes. */
export class Fixture {
  readonly clock = new FakeClock(1000);
  readonly logs: string[] = [];
  readonly sent: Sent[] = [];
  readonly removed: Head<TestPath, TestBio>[] = [];
  wakes = 0;
  readonly iopolicy: Iopolicy;
  readonly head: Head<TestPath, TestBio>;
  #nextId = 0;

  constructor(options: FixtureOptions = {}) {
    const log = (message: string): void => {
      this.logs.push(message);
    };
    this.iopolicy = options.iopolicy ?? new Iopolicy({ initial: options.policy ?? 'numa', log });
    this.head = new Head<TestPath, TestBio>({
      name: 'head0',
      template: { ...this.template(), ...options.template },
      iopolicy: this.iopolicy,
      clock: this.clock,
      log,
      wake: () => {
        this.wakes++;
      },
      ...options.head,
    });
    if (options.disk !== null) {
      this.head.allocDisk({ name: 'disk0', parent: this, capacityBytes: 2 ** 40, ...options.disk });
    }
    if (options.live ?? true) this.head.diskLive = options.disk !== null;
  }

  template(): TestTemplate {
    return {
      isDisabled: (path) => path.disabled,
      isOptimized: (path) => !path.disabled && path.accessState === AccessState.Optimized,
      availablePath: (path) => path.hopeful,
      submitBio: (path, bio) => {
        this.sent.push({ path, bio });
      },
      removeHead: (head) => {
        this.removed.push(head);
      },
    };
  }

  /** Adds a path; optimized unless said otherwise. */
  path(name: string, accessState: AccessState = AccessState.Optimized, more: Partial<PathOptions> = {}): TestPath {
    const path = new TestPath({ name, accessState, ...more });
    this.head.addPath(path);
    return path;
  }

  bio(bytes = 4096): TestBio {
    return new TestBio(this.#nextId++, bytes);
  }

  /** Submits new bios and answers them. */
  submit(count = 1, node = 0): TestBio[] {
    const bios = Array.from({ length: count }, () => this.bio());
    for (const bio of bios) this.head.submitBio(bio, node);
    return bios;
  }

  /** Names of the paths that the next `count` selections take. */
  select(count: number, node = 0): string[] {
    return Array.from({ length: count }, () => this.head.findPath(node)?.name ?? 'none');
  }

  tick(ms = 0): void {
    this.clock.advance(ms);
    this.head.tick(this.clock.nowMs());
  }

  /** Names of the paths of all bios that the driver holds or held, in order; forgets them. */
  takeSent(): string[] {
    return this.sent.splice(0).map(({ path }) => path.name);
  }
}

export function pathDisk(name: string, more: Partial<PathDisk> = {}): PathDisk {
  return { name, capacityBytes: 2 ** 40, added: true, ...more };
}

/** A promise and its ends. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (e: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (e: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
