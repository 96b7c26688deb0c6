import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { fileProblem } from '../file-error.ts';
import { checkRange, ioOptions, requestedBytes } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { CHUNK_BYTES, type Session, type SessionNamespace } from '../session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

const { 'output-format': outputFormat, ...options } = ioOptions;

export const write = command({
  name: 'write',
  summary: 'Write blocks of a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Writes all of the data; with --block-count or --data-size that much of it, filled up with zeroes where there is less. The data is on stable storage when the command returns.',
  ],
  options: {
    ...options,
    'force-unit-access': { type: 'flag', help: 'Write with FUA instead of flushing at the end' },
    'output-format': outputFormat,
  },
  examples: [
    { line: 'echo hello | nvbraid write --start-block 8 --block-count 0', help: 'one block, filled up with zeroes' },
    { line: 'nvbraid write -a 192.168.0.7 --data disk.img', help: 'a whole image' },
  ],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const path = options.data === '-' ? undefined : options.data;
    const length = path === undefined ? null : await fileLength(path);
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const slba = options['start-block'];
      const wanted = requestedBytes(options, namespace.blockSize);
      const bytes = wanted ?? length;
      if (bytes !== null) checkLength(namespace, slba, bytes, wanted === null);
      const source = path === undefined ? process.stdin : createReadStream(path, { highWaterMark: CHUNK_BYTES });
      const writer = new BlockWriter(session, namespace, slba, bytes, options['force-unit-access'], stop);
      try {
        for await (const chunk of source) if (!(await writer.take(chunk as Buffer))) break;
        await writer.end();
      } catch (error) {
        if (error instanceof NvbraidError) throw error;
        throw new NvbraidError('EIO', `cannot read ${path ?? 'standard input'}: ${fileProblem(error)}`, {
          cause: error,
        });
      }
      if (!options['force-unit-access']) await session.flush(namespace.nsid);
      const blocks = writer.written / namespace.blockSize;
      if (options['output-format'] === 'json') terminal.json({ nsid: namespace.nsid, slba, blocks });
      else terminal.note(`wrote ${plural(blocks, 'block')} (${writer.written} bytes) from block ${slba} on`);
    } finally {
      await session.close();
    }
    return 0;
  },
});

async function fileLength(path: string): Promise<number | null> {
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
  if (bytes === 0) throw new NvbraidError('EINVAL', 'there is no data to write');
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

/** Gathers a stream of bytes into writes of whole blocks. */
class BlockWriter {
  readonly #session: Session;
  readonly #namespace: SessionNamespace;
  readonly #slba: number;
  /** Null: as many as come. */
  readonly #bytes: number | null;
  readonly #fua: boolean;
  readonly #stop: StopSignal;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  #held = 0;
  written = 0;

  constructor(
    session: Session,
    namespace: SessionNamespace,
    slba: number,
    bytes: number | null,
    fua: boolean,
    stop: StopSignal,
  ) {
    this.#session = session;
    this.#namespace = namespace;
    this.#slba = slba;
    this.#bytes = bytes;
    this.#fua = fua;
    this.#stop = stop;
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
    }
    return this.#left() === null || this.#left()! > this.#held;
  }

  async end(): Promise<void> {
    if (this.#bytes === null) {
      if (this.#held % this.#namespace.blockSize !== 0) throw notWhole(this.#namespace, this.written + this.#held);
      if (this.written + this.#held === 0) throw new NvbraidError('EINVAL', 'there is no data to write');
      await this.#flush();
      return;
    }
    while (this.written < this.#bytes) {
      const length = Math.min(this.#buffer.length, this.#bytes - this.written);
      this.#buffer.fill(0, this.#held, length);
      this.#held = length;
      await this.#flush();
    }
  }

  #left(): number | null {
    return this.#bytes === null ? null : this.#bytes - this.written;
  }

  async #flush(): Promise<void> {
    if (this.#held === 0) return;
    if (this.#stop.stopped) throw new NvbraidError('EABORTED', `stopped after ${this.written} bytes`);
    const { nsid, blockSize } = this.#namespace;
    const slba = this.#slba + this.written / blockSize;
    checkRange(this.#namespace, slba, this.#held);
    await this.#session.write(nsid, slba, this.#buffer.subarray(0, this.#held), this.#fua);
    this.written += this.#held;
    this.#held = 0;
  }
}
