import { type FileHandle, open } from 'node:fs/promises';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { fileProblem } from '../file-error.ts';
import { hexdump } from '../hexdump.ts';
import { checkRange, ioOptions, requestedBytes } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { CHUNK_BYTES, type Session, type SessionNamespace } from '../session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';

export const read = command({
  name: 'read',
  summary: 'Read blocks of a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Without --block-count and --data-size one block is read. A terminal gets a hex dump, a file or a pipe the bytes.',
  ],
  options: ioOptions,
  examples: [
    { line: 'nvbraid read --start-block 8', help: 'a hex dump of block 8' },
    { line: 'nvbraid read -a 192.168.0.7 --data-size 1GiB --data backup.img', help: 'the first GiB into a file' },
  ],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const slba = options['start-block'];
      const bytes = requestedBytes(options, namespace.blockSize) ?? namespace.blockSize;
      checkRange(namespace, slba, bytes);
      const json = options['output-format'] === 'json';
      const sink = json ? new JsonSink(terminal) : await sinkFor(options.data, slba * namespace.blockSize, terminal);
      try {
        await copy(session, namespace, slba, bytes, sink, stop);
      } finally {
        await sink.close();
      }
      if (sink instanceof JsonSink) sink.print({ nsid: namespace.nsid, slba, blocks: bytes / namespace.blockSize });
      else if (sink instanceof FileSink)
        terminal.note(`read ${plural(bytes / namespace.blockSize, 'block')} (${bytes} bytes) into ${options.data}`);
    } finally {
      await session.close();
    }
    return 0;
  },
});

interface Sink {
  take(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

async function copy(
  session: Session,
  namespace: SessionNamespace,
  slba: number,
  bytes: number,
  sink: Sink,
  stop: StopSignal,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(bytes, CHUNK_BYTES));
  for (let at = 0; at < bytes; ) {
    if (stop.stopped) throw new NvbraidError('EABORTED', `stopped after ${at} of ${bytes} bytes`);
    const part = buffer.subarray(0, Math.min(buffer.length, bytes - at));
    await session.read(namespace.nsid, slba + at / namespace.blockSize, part);
    await sink.take(part);
    at += part.length;
  }
}

async function sinkFor(path: string | undefined, offset: number, terminal: Terminal): Promise<Sink> {
  if (path !== undefined && path !== '-') return FileSink.open(path);
  return terminal.isTty ? new DumpSink(terminal, offset) : new OutputSink(terminal);
}

class FileSink implements Sink {
  readonly #file: FileHandle;
  readonly #path: string;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  static async open(path: string): Promise<FileSink> {
    try {
      return new FileSink(await open(path, 'w'), path);
    } catch (error) {
      throw new NvbraidError('EIO', `cannot write ${path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  async take(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) at += (await this.#file.write(bytes, at)).bytesWritten;
    } catch (error) {
      throw new NvbraidError('EIO', `cannot write ${this.#path}: ${fileProblem(error)}`, { cause: error });
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

class OutputSink implements Sink {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  take(bytes: Uint8Array): Promise<void> {
    return this.#terminal.data(bytes);
  }

  async close(): Promise<void> {}
}

class DumpSink implements Sink {
  readonly #terminal: Terminal;
  #offset: number;

  constructor(terminal: Terminal, offset: number) {
    this.#terminal = terminal;
    this.#offset = offset;
  }

  async take(bytes: Uint8Array): Promise<void> {
    for (const text of hexdump(bytes, this.#offset)) this.#terminal.line(text);
    this.#offset += bytes.length;
  }

  async close(): Promise<void> {}
}

class JsonSink implements Sink {
  readonly #terminal: Terminal;
  readonly #parts: Buffer[] = [];

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  async take(bytes: Uint8Array): Promise<void> {
    this.#parts.push(Buffer.from(bytes));
  }

  async close(): Promise<void> {}

  print(about: object): void {
    this.#terminal.json({ ...about, data: Buffer.concat(this.#parts).toString('base64') });
  }
}
