import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NvbraidError } from '@nvbraid/base';
import { type LockOutcome, lockFile } from '@nvbraid/blockdev';
import { MAX_REGISTRY_ENTRIES, MAX_REGISTRY_ENTRY_BYTES, REGISTRY_LOCK_MS, REGISTRY_RETRY_MS } from './limits.ts';

/*
 * The processes that serve one file together. Each has a file of its own in the registry's directory and holds its lock
 * for as long as it can touch the shared file: who can take the lock knows that the process is dead, and that its last
 * system call is over. What the file says is only how to reach the process, and which identifiers its controllers have;
 * nothing depends on process numbers. The file of a process that has ended stays, as the proof that it has, until
 * another one claims its identifiers.
 *
 *   registry.lock   held while somebody registers
 *   ID.process      JSON, locked by its process; appears (by rename) locked and whole
 *   ID.sock         where the process can be asked to end a controller
 */

/** What a process says of itself. */
export interface ProcessEntry {
  readonly id: string;
  readonly nqn: string;
  readonly cntlidMin: number;
  readonly cntlidMax: number;
  /** For messages only. */
  readonly pid: number;
}

/** alive: it holds its lock; dead: it does not. Null entry: its file cannot be understood. */
interface Found {
  readonly id: string;
  readonly alive: boolean;
  readonly entry: ProcessEntry | null;
}

const SUFFIX = '.process';
const { O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/** A claim on identifiers, from `claim` until `close`. */
export interface Claim {
  readonly id: string;
  close(): void;
}

/** What is known of the process that has an identifier. `unknown`: nobody has ever claimed it here. */
export type Holder = { state: 'alive'; entry: ProcessEntry } | { state: 'dead' } | { state: 'unknown' };

export class ProcessRegistry {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * Registers this process for a range of controller identifiers.
   * @param waitMs how long to wait for another process that registers
   * @throws NvbraidError EBUSY when a living process has one of them, EACCES, ENOTSUP, EIO
   */
  async claim(wanted: Omit<ProcessEntry, 'id' | 'pid'>, waitMs = REGISTRY_LOCK_MS): Promise<Claim> {
    const id = `${process.pid}-${randomBytes(8).toString('hex')}`;
    return this.#locked(waitMs, () => {
      const others = this.#scan();
      for (const other of others) {
        if (other.alive) this.#checkApart(other, wanted);
        else if (other.entry === null || overlap(other.entry, wanted)) this.#forget(other.id);
      }
      if (others.length >= MAX_REGISTRY_ENTRIES) this.#forgetOldest(others);
      return this.#write(id, { id, ...wanted, pid: process.pid });
    });
  }

  /**
   * Who has, or had, an identifier.
   * @throws NvbraidError EIO, EACCES when that cannot be found out
   */
  holder(nqn: string, cntlid: number): Holder {
    let known = false;
    try {
      for (const { alive, entry } of this.#scan()) {
        // A living process that we cannot understand could be the one.
        if (alive && entry === null) throw this.#error('EIO', 'the entry of a living process in it cannot be read');
        if (entry === null || entry.nqn !== nqn || cntlid < entry.cntlidMin || cntlid > entry.cntlidMax) continue;
        if (alive) return { state: 'alive', entry };
        known = true;
      }
    } catch (error) {
      throw this.#failed(error);
    }
    return { state: known ? 'dead' : 'unknown' };
  }

  #checkApart({ id, entry }: Found, wanted: Omit<ProcessEntry, 'id' | 'pid'>): void {
    if (entry === null) throw this.#error('EBUSY', `the entry ${id}${SUFFIX} of a living process cannot be read`);
    if (!overlap(entry, wanted)) return;
    throw new NvbraidError(
      'EBUSY',
      `process ${entry.pid} serves ${wanted.nqn} from the same file with controllers ${entry.cntlidMin} to ` +
        `${entry.cntlidMax}, this one would with ${wanted.cntlidMin} to ${wanted.cntlidMax}: give each process a range ` +
        'of its own (cntlidMin, cntlidMax)',
      { context: { pid: entry.pid }, retryable: false },
    );
  }

  /** Looks at every entry. An entry is alive when its lock cannot be had. */
  #scan(): Found[] {
    const found: Found[] = [];
    for (const name of readdirSync(this.directory)) {
      if (!name.endsWith(SUFFIX)) continue;
      const id = name.slice(0, -SUFFIX.length);
      let fd: number;
      try {
        fd = openSync(join(this.directory, name), O_RDONLY | O_NONBLOCK);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue; // forgotten meanwhile
        throw error;
      }
      try {
        // Shared: two that look at the same time must not take each other for the living process.
        const lock = lockFile(fd, 'shared');
        if (lock === 'unsupported') throw this.#noLocks();
        found.push({ id, alive: lock === 'busy', entry: readEntry(fd, id) });
      } finally {
        closeSync(fd);
      }
    }
    return found;
  }

  /** Writes the entry under another name, so that it appears locked and whole. */
  #write(id: string, entry: ProcessEntry): Claim {
    const path = join(this.directory, `${id}${SUFFIX}`);
    const temporary = join(this.directory, `${id}.new`);
    const fd = openSync(temporary, O_RDWR | O_CREAT | O_EXCL, 0o600);
    try {
      const lock = lockFile(fd, 'exclusive');
      if (lock !== 'taken') throw this.#noLocks();
      ftruncateSync(fd, 0);
      writeSync(fd, JSON.stringify({ version: 1, ...entry }));
      renameSync(temporary, path);
    } catch (error) {
      closeSync(fd);
      unlinkQuietly(temporary);
      throw error;
    }
    let open = true;
    // The entry stays: unlocked it tells that the process cannot touch the file any more.
    const close = (): void => {
      if (open) closeSync(fd);
      open = false;
    };
    return { id, close };
  }

  #forget(id: string): void {
    for (const suffix of [SUFFIX, '.sock']) unlinkQuietly(join(this.directory, `${id}${suffix}`));
  }

  #forgetOldest(found: readonly Found[]): void {
    const dead = found.filter(({ alive }) => !alive).map(({ id }) => ({ id, ms: this.#changedMs(id) }));
    dead.sort((a, b) => a.ms - b.ms);
    for (const { id } of dead.slice(0, found.length - MAX_REGISTRY_ENTRIES + 1)) this.#forget(id);
  }

  #changedMs(id: string): number {
    return statSync(join(this.directory, `${id}${SUFFIX}`), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Runs `work` while nobody else registers. What one that died in the middle has left behind is cleared away. */
  async #locked<T>(waitMs: number, work: () => T): Promise<T> {
    let fd = -1;
    try {
      mkdirSync(this.directory, { recursive: true, mode: 0o700 });
      fd = openSync(join(this.directory, 'registry.lock'), O_RDWR | O_CREAT, 0o600);
      await this.#wait(fd, waitMs);
      for (const name of readdirSync(this.directory)) {
        if (name.endsWith('.new')) unlinkQuietly(join(this.directory, name));
      }
      return work();
    } catch (error) {
      throw this.#failed(error);
    } finally {
      if (fd >= 0) closeSync(fd);
    }
  }

  async #wait(fd: number, waitMs: number): Promise<void> {
    let lock: LockOutcome = lockFile(fd, 'exclusive');
    for (let waited = 0; lock === 'busy' && waited < waitMs; waited += REGISTRY_RETRY_MS) {
      await sleep(REGISTRY_RETRY_MS);
      lock = lockFile(fd, 'exclusive');
    }
    if (lock === 'unsupported') throw this.#noLocks();
    if (lock === 'busy') {
      throw this.#error(
        'EBUSY',
        'another process has been registering for too long: is it stopped? Continue or end it',
      );
    }
  }

  #noLocks(): NvbraidError {
    return this.#error('ENOTSUP', 'its file system has no locks, by which the processes know of each other');
  }

  #error(code: 'EBUSY' | 'EIO' | 'ENOTSUP', what: string): NvbraidError {
    const context = { path: this.directory };
    return new NvbraidError(code, `registry of processes ${this.directory}: ${what}`, { context, retryable: false });
  }

  #failed(error: unknown): unknown {
    if (error instanceof NvbraidError) return error;
    const { code, message } = error as NodeJS.ErrnoException;
    const context = { path: this.directory };
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      return new NvbraidError(
        'EACCES',
        `no permission to write ${this.directory}, where processes that share a file register: let them run as one ` +
          'user, or give them the directory',
        { cause: error, context },
      );
    }
    if (code === undefined) return error;
    return new NvbraidError('EIO', `registry of processes ${this.directory}: ${message}`, { cause: error, context });
  }
}

/** A file may hold anything: null for all that is not an entry. */
function readEntry(fd: number, id: string): ProcessEntry | null {
  const stat = fstatSync(fd);
  if (!stat.isFile() || stat.size > MAX_REGISTRY_ENTRY_BYTES) return null;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(fd, 'utf8'));
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { version, nqn, cntlidMin, cntlidMax, pid } = value as Record<string, unknown>;
  if (version !== 1 || typeof nqn !== 'string') return null;
  if (!isCntlid(cntlidMin) || !isCntlid(cntlidMax) || !Number.isSafeInteger(pid)) return null;
  return { id, nqn, cntlidMin, cntlidMax, pid: pid as number };
}

function isCntlid(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff;
}

type Range = Pick<ProcessEntry, 'nqn' | 'cntlidMin' | 'cntlidMax'>;

function overlap(a: Range, b: Range): boolean {
  return a.nqn === b.nqn && a.cntlidMin <= b.cntlidMax && b.cntlidMin <= a.cntlidMax;
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone already, or stays: neither hurts.
  }
}
