import type { Writable } from 'node:stream';

type Env = Readonly<Record<string, string | undefined>>;
type Stream = Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };

const STYLES = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' } as const;
export type Style = keyof typeof STYLES;

/**
 * Where a command writes. Results go to `out`; what accompanies them, and errors, to `err`. On a terminal there may be
 * one status line, rewritten in place below what is printed.
 */
export class Terminal {
  readonly env: Env;
  readonly #out: Stream;
  readonly #err: Stream;
  #status = '';
  #onScreen = false;

  constructor(out: Stream = process.stdout, err: Stream = process.stderr, env: Env = process.env) {
    this.#out = out;
    this.#err = err;
    this.env = env;
  }

  get isTty(): boolean {
    return this.#out.isTTY === true;
  }

  /** True when a status line can be rewritten in place. */
  get live(): boolean {
    return this.isTty && this.env.TERM !== 'dumb';
  }

  /** The text in a style, where the terminal has colours and the user has nothing against them (NO_COLOR). */
  style(style: Style, text: string): string {
    if (!this.live || (this.env.NO_COLOR ?? '') !== '') return text;
    return `\x1b[${STYLES[style]}m${text}\x1b[0m`;
  }

  /** A line of the result. */
  line(text = ''): void {
    this.#clear();
    this.#out.write(`${text}\n`);
    this.#draw();
  }

  json(value: unknown, indent = 2): void {
    this.line(JSON.stringify(value, jsonValue, indent));
  }

  /** Something that happens while a command runs: a line with the time of day, or one of JSON with all its fields. */
  event(json: boolean, event: string, text: string, fields: object): void {
    const now = new Date();
    if (json) this.json({ event, time: now.toISOString(), ...fields }, 0);
    else this.line(`${now.toTimeString().slice(0, 8)} ${text}`);
  }

  /** A line for the person, apart from the result. */
  note(text: string): void {
    this.#clear();
    this.#err.write(`${text}\n`);
    this.#draw();
  }

  /** Raw bytes of the result; fulfilled when the stream has taken them. */
  data(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#out.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Sets the status line; without effect where it cannot be rewritten. */
  status(text: string): void {
    if (!this.live) return;
    this.#clear();
    this.#status = text;
    this.#draw();
  }

  /** Draws a whole screen in place, cut to what fits; for terminals that are `live`. */
  screen(lines: readonly string[]): void {
    if (!this.#onScreen) this.#out.write('\x1b[?1049h\x1b[?25l');
    this.#onScreen = true;
    const { columns = 80, rows = 24 } = this.#out;
    const shown = lines
      .slice(0, rows)
      .map((line) => `${cut(line, columns)}${line.includes('\x1b') ? '\x1b[0m' : ''}\x1b[K`);
    this.#out.write(`\x1b[H${shown.join('\r\n')}\x1b[J`);
  }

  /** Shows again what was there before `screen`. */
  endScreen(): void {
    if (this.#onScreen) this.#out.write('\x1b[?25h\x1b[?1049l');
    this.#onScreen = false;
  }

  endStatus(): void {
    this.#clear();
    this.#status = '';
  }

  #clear(): void {
    if (this.#status !== '') this.#out.write('\r\x1b[K');
  }

  #draw(): void {
    if (this.#status !== '') this.#out.write(cut(this.#status, (this.#out.columns ?? 80) - 1));
  }
}

/** Cuts a text to `width` columns; escape sequences take none. */
function cut(text: string, width: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a style
  const pieces = text.split(/(\x1b\[[0-9]*m)/);
  let left = width;
  let result = '';
  for (const piece of pieces) {
    if (piece.startsWith('\x1b')) {
      result += piece;
    } else {
      result += piece.slice(0, left);
      left -= Math.min(left, piece.length);
    }
  }
  return result;
}

/** bigint as a number where that is exact. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}
