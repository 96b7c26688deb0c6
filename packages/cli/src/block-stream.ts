import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { NvbraidError } from 'nvbraid';
import { fileProblem } from './file-error.ts';
import { checkRange } from './io-options.ts';
import { CHUNK_BYTES, type SessionNamespace } from './session.ts';
import type { StopSignal } from './stop-signal.ts';

/** Where bytes come from, and how many of them are wanted. */
export interface BlockSource {
  readonly namespace: SessionNamespace;
  readonly slba: number;
  /** A file; null is standard input. */
  readonly path: string | null;
  /** Bytes of the file; null where that is open. */
  readonly length: number | null;
  /** Bytes asked for, filled up with zeroes; null: as many as there are. */
  readonly wanted: number | null;
  readonly stop: StopSignal;
}

/** @returns false when it has seen enough; anything else goes on. */
export type TakeChunk = (slba: number, bytes: Uint8Array) => Promise<unknown>;

/**
 * Hands all bytes of a source to `take`, as whole blocks in order, until it has seen enough.
 * @returns bytes
 * @throws NvbraidError
 */
export async function eachChunk(source: BlockSource, take: TakeChunk): Promise<number> {
  const { namespace, slba, path, length, wanted } = source;
  const bytes = wanted ?? length;
  if (bytes !== null) checkLength(namespace, slba, bytes, wanted === null);
  const stream = path === null ? process.stdin : createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const blocks = new BlockStream(source, bytes, take);
  try {
    for await (const chunk of stream) if (!(await blocks.take(chunk as Buffer))) break;
    if (!blocks.enough) await blocks.end();
  } catch (error) {
    if (error instanceof NvbraidError) throw error;
    throw new NvbraidError('EIO', `cannot read ${path ?? 'standard input'}: ${fileProblem(error)}`, { cause: error });
  }
  return blocks.done;
}

/** Bytes of a file; null for standard input, and for what is no regular file. @throws NvbraidError EINVAL, ENOENT */
export async function sourceLength(path: string | null): Promise<number | null> {
  if (path === null) return null;
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new NvbraidError('EINVAL', `cannot read ${path}: it is a directory`);
    return found.isFile() ? found.size : null;
  } catch (error) {
    if (error instanceof NvbraidError) throw error;
    throw new NvbraidError('ENOENT', `cannot read ${path}: ${fileProblem(error)}`, { cause: error });
  }
}

function checkLength(namespace: SessionNamespace, slba: number, bytes: number, asItIs: boolean): void {
  if (bytes === 0) throw new NvbraidError('EINVAL', 'there is no data');
  if (asItIs && bytes % namespace.blockSize !== 0) throw notWhole(namespace, bytes);
  checkRange(namespace, slba, bytes);
}

function notWhole(namespace: SessionNamespace, bytes: number): NvbraidError {
  const up = Math.ceil(bytes / namespace.blockSize) * namespace.blockSize;
  return new NvbraidError(
    'EINVAL',
    `the data has ${bytes} bytes, not a multiple of the block size ${namespace.blockSize}; --data-size ${up} fills it up with zeroes`,
  );
}

/** Gathers a stream of bytes into whole blocks. */
class BlockStream {
  readonly #source: BlockSource;
  /** Null: as many as come. */
  readonly #bytes: number | null;
  readonly #take: TakeChunk;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  #held = 0;
  done = 0;
  enough = false;

  constructor(source: BlockSource, bytes: number | null, take: TakeChunk) {
    this.#source = source;
    this.#bytes = bytes;
    this.#take = take;
  }

  /** Answers false when no more is wanted. */
  async take(chunk: Uint8Array): Promise<boolean> {
    for (let at = 0; at < chunk.length; ) {
      const room = Math.min(this.#buffer.length, this.#left() ?? Number.POSITIVE_INFINITY);
      if (room === this.#held) return false;
      const part = chunk.subarray(at, at + room - this.#held);
      this.#buffer.set(part, this.#held);
      this.#held += part.length;
      at += part.length;
      if (this.#held === this.#buffer.length) await this.#flush();
      if (this.enough) return false;
    }
    return this.#left() === null || this.#left()! > this.#held;
  }

  async end(): Promise<void> {
    if (this.#bytes === null) {
      if (this.#held % this.#source.namespace.blockSize !== 0)
        throw notWhole(this.#source.namespace, this.done + this.#held);
      if (this.done + this.#held === 0) throw new NvbraidError('EINVAL', 'there is no data');
      await this.#flush();
      return;
    }
    while (this.done < this.#bytes && !this.enough) {
      const length = Math.min(this.#buffer.length, this.#bytes - this.done);
      this.#buffer.fill(0, this.#held, length);
      this.#held = length;
      await this.#flush();
    }
  }

  #left(): number | null {
    return this.#bytes === null ? null : this.#bytes - this.done;
  }

  async #flush(): Promise<void> {
    if (this.#held === 0) return;
    const { namespace, slba, stop } = this.#source;
    if (stop.stopped) throw new NvbraidError('EABORTED', `stopped after ${this.done} bytes`);
    const first = slba + this.done / namespace.blockSize;
    checkRange(namespace, first, this.#held);
    this.enough = (await this.#take(first, this.#buffer.subarray(0, this.#held))) === false;
    this.done += this.#held;
    this.#held = 0;
  }
}
