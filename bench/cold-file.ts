import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError } from './children.ts';

const SIZE = 2 ** 31;
/** Between two times that it is dropped, in ms: less than it takes to read much of it. */
const INTERVAL = 100;

/** A file whose blocks are not in the page cache, however often they are read. */
export class ColdFile {
  readonly path: string;
  readonly #timer: NodeJS.Timeout;

  constructor(directory: string) {
    this.path = join(directory, `nvbraid-cold-${process.pid}.img`);
    const piece = randomBytes(2 ** 20);
    const fd = openSync(this.path, 'wx', 0o600);
    process.once('exit', () => this.remove());
    for (let at = 0; at < SIZE; at += piece.length) writeSync(fd, piece);
    fsyncSync(fd);
    closeSync(fd);
    this.#drop();
    this.#timer = setInterval(() => this.#drop(), INTERVAL).unref();
  }

  /** POSIX_FADV_DONTNEED of the whole file. */
  #drop(): void {
    const { status, stderr } = spawnSync('dd', [`if=${this.path}`, 'iflag=nocache', 'count=0'], { encoding: 'utf8' });
    if (status !== 0) throw new BenchError(`the file cannot be dropped from the page cache: ${stderr}`);
  }

  remove(): void {
    clearInterval(this.#timer);
    rmSync(this.path, { force: true });
  }
}
