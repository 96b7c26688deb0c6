import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { fields, NvbraidError, settingTable } from '@nvbraid/base';
import type { BlockDevice, DeviceSpec, Io, OpenOptions } from '../block-device.ts';
import { ioResultName } from '../io.ts';
import { LOG_BUFFER_BYTES, LOG_DELAY_MS } from '../limits.ts';
import { kindOf, OP_KINDS, opBits, opsSetting } from './op-kinds.ts';
import {
  ENABLED,
  Passages,
  type PreparedTunable,
  TunableFilter,
  type TunableKind,
  type TunableSpec,
  tunableSpec,
} from './tunable.ts';

const TABLE = settingTable({
  enabled: ENABLED,
  ops: opsSetting('all', 'Operations that are logged'),
  path: fields.orNone(fields.text(1024, "File to append to; without it lines go to the target's log", 'PATH')),
  format: fields.choice(['text', 'json'], 'text', 'How a line is written'),
  sample: fields.wholeNumber(1, 0x7fffffff, 1, 'Logs one operation of this many'),
  'lines-per-second': fields.wholeNumber(
    1,
    1_000_000,
    1000,
    'Most lines of a thread in a second; the rest are counted',
  ),
  'max-bytes': fields.byteCount(4096, Number.MAX_SAFE_INTEGER, 64 * 1024 * 1024, 'The file grows no further than this'),
});

export type LogOptions = Partial<{ -readonly [K in keyof typeof TABLE]: unknown }>;

/** Writes a line for each operation when it has ended. @throws NvbraidError EINVAL, EACCES, ENOENT */
export function logFilter(lower: DeviceSpec, options: LogOptions = {}): TunableSpec {
  return tunableSpec(LOG, lower, options);
}

export const LOG: TunableKind = {
  kind: 'log',
  summary: 'Writes a line for each operation',
  keepsNothing: true,
  table: TABLE,
  check({ path }) {
    // Found out here, where somebody can read why, and not in a thread.
    if (typeof path === 'string') closeSync(openLog(path));
  },
  open: (prepared, lower, options) => new LogFilter(prepared, lower, options),
};

function openLog(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new NvbraidError('ENOENT', `filter log: the directory of ${path} does not exist`);
    if (code === 'EACCES' || code === 'EPERM')
      throw new NvbraidError('EACCES', `filter log: no permission to write ${path}`);
    throw new NvbraidError('EIO', `filter log: cannot open ${path}: ${message}`, { cause: error });
  }
}

class LogFilter extends TunableFilter<typeof TABLE> {
  readonly #passages = new Passages((passage, io) => {
    this.#log(io, passage.startedMs);
    return true;
  });
  #ops = 0;
  #path: string | null = null;
  #fd = -1;
  #count = 0;
  #second = 0;
  #lines = 0;
  #dropped = 0;
  #text = '';
  #cancel: (() => void) | null = null;
  /** The file is full, or cannot be written; said once. */
  #stopped = false;

  constructor(prepared: PreparedTunable, lower: BlockDevice, options: OpenOptions) {
    super(prepared, lower, options);
  }

  protected override changed(): void {
    const { enabled, ops, path } = this.settings;
    this.#ops = enabled ? opBits(ops) : 0;
    this.#stopped = false;
    if (path === this.#path) return;
    this.#write();
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#path = path;
    if (path === null) return;
    try {
      this.#fd = openLog(path);
    } catch (error) {
      this.#stop((error as Error).message);
    }
  }

  submit(io: Io): boolean {
    this.look();
    if ((this.#ops & (1 << kindOf(io.op))) === 0 || this.#stopped) return this.lower.submit(io);
    if (this.#count++ % this.settings.sample !== 0) return this.lower.submit(io);
    return this.#passages.submit(io, this.lower, 0, this.timers.nowMs());
  }

  override async close(): Promise<void> {
    await super.close();
    this.#write();
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
    this.#stopped = true;
  }

  #log(io: Io, startedMs: number): void {
    const now = this.timers.nowMs();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#lines = 0;
    }
    if (this.#lines >= this.settings['lines-per-second'] || this.#text.length >= LOG_BUFFER_BYTES) {
      this.#dropped++;
      return;
    }
    this.#lines++;
    this.#say(this.#line(io, Math.round((now - startedMs) * 1000)));
  }

  #line(io: Io, us: number): string {
    const time = new Date().toISOString();
    const op = OP_KINDS[kindOf(io.op)]!;
    const lba = io.offset / this.blockSize;
    const blocks = io.length / this.blockSize;
    const result = ioResultName(io.result);
    const { thread } = this;
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (this.settings.format === 'json') {
      const fua = io.fua ? { fua: true } : {};
      const lost = dropped === 0 ? {} : { dropped };
      return JSON.stringify({ time, thread, op, lba, blocks, ...fua, result, us, ...lost });
    }
    const where = blocks === 0 ? '' : ` lba ${lba}+${blocks}`;
    const lost = dropped === 0 ? '' : ` (${dropped} before it not logged)`;
    return `${time} thread ${thread} ${op}${where}${io.fua ? ' fua' : ''} ${result} ${us}us${lost}`;
  }

  #say(line: string): void {
    if (this.#fd < 0) {
      this.options.log?.(line);
      return;
    }
    this.#text += `${line}\n`;
    this.#cancel ??= this.timers.after(LOG_DELAY_MS, () => this.#write());
  }

  #write(): void {
    this.#cancel?.();
    this.#cancel = null;
    if (this.#fd < 0 || this.#text === '') return;
    const bytes = new TextEncoder().encode(this.#text);
    this.#text = '';
    try {
      const most = this.settings['max-bytes'];
      if (fstatSync(this.#fd).size + bytes.length > most) {
        this.#stop(`filter log: ${this.#path} has reached ${most} bytes, nothing more is logged`);
      } else writeSync(this.#fd, bytes);
    } catch (error) {
      this.#stop(`filter log: cannot write ${this.#path}: ${(error as Error).message}`);
    }
  }

  #stop(why: string): void {
    if (!this.#stopped) this.options.log?.(why);
    this.#stopped = true;
  }
}
