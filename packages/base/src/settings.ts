import { NvbraidError } from './errors.ts';

/*
 * Settings that come as JSON or as text: a table of fields says what may stand where. The same table reads
 * configuration files, command lines and requests, fills in what is left out, refuses what is unknown, and makes help.
 */

export type Plain = string | number | boolean | null;

/** One setting. What `read` returns is plain JSON and is read back to itself. */
export interface Setting<T extends Plain> {
  readonly default: T;
  /** A phrase for help. */
  readonly help: string;
  /** What stands for the value in help, e.g. `NUMBER`. */
  readonly value: string;
  /** @returns what to keep, or undefined when the input is none: the caller says `what` was expected */
  read(input: unknown): T | undefined;
  /** Completes the sentence "KEY is …". */
  readonly what: string;
}

export type SettingTable = Readonly<Record<string, Setting<Plain>>>;
export type SettingsOf<F extends SettingTable> = { readonly [K in keyof F]: F[K] extends Setting<infer T> ? T : never };

/** A table whose fields keep their types. */
export function settingTable<const F extends SettingTable>(table: F): F {
  return table;
}

/** All defaults. */
export function defaultSettings<F extends SettingTable>(table: F): SettingsOf<F> {
  return Object.fromEntries(Object.entries(table).map(([key, field]) => [key, field.default])) as SettingsOf<F>;
}

/**
 * Reads an object of settings; what is left out stays as in `before`.
 * @param whose begins the sentence of an error, e.g. `filter delay`
 * @throws NvbraidError EINVAL that names the key
 */
export function readSettings<F extends SettingTable>(
  table: F,
  input: unknown,
  whose: string,
  before: SettingsOf<F> = defaultSettings(table),
): SettingsOf<F> {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new NvbraidError('EINVAL', `${whose}: the settings are not an object`);
  }
  const settings: Record<string, Plain> = { ...before };
  for (const [key, value] of Object.entries(input)) {
    if (!Object.hasOwn(table, key)) {
      const known = Object.keys(table).join(', ');
      throw new NvbraidError('EINVAL', `${whose}: there is no setting ${JSON.stringify(key)}; there are ${known}`, {
        context: { key },
      });
    }
    const field = table[key]!;
    const read = field.read(value);
    if (read === undefined) {
      throw new NvbraidError('EINVAL', `${whose}: ${key} is ${field.what}, not ${shown(value)}`, { context: { key } });
    }
    settings[key] = read;
  }
  return settings as SettingsOf<F>;
}

/** What differs from the defaults: the shortest object that `readSettings` makes the same of. */
export function changedSettings<F extends SettingTable>(table: F, settings: SettingsOf<F>): Record<string, Plain> {
  return Object.fromEntries(
    Object.entries(settings as Record<string, Plain>).filter(([key, value]) => value !== table[key]!.default),
  );
}

/**
 * `kind,key=value,key=value` as an object of texts: how settings stand on a command line.
 * @throws NvbraidError EINVAL
 */
export function splitSettings(text: string): { kind: string; settings: Record<string, string> } {
  const [kind = '', ...parts] = text.split(',').map((part) => part.trim());
  return { kind, settings: splitPairs(parts) };
}

/** `key=value` pairs as an object of texts; a key alone is `true`. @throws NvbraidError EINVAL */
export function splitPairs(parts: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const part of parts) {
    const equals = part.indexOf('=');
    const key = equals < 0 ? part : part.slice(0, equals);
    if (key === '') throw new NvbraidError('EINVAL', `'${part}' is not KEY=VALUE`);
    if (Object.hasOwn(settings, key)) throw new NvbraidError('EINVAL', `${key} is given twice`, { context: { key } });
    settings[key] = equals < 0 ? 'true' : part.slice(equals + 1);
  }
  return settings;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

export function parseRange(input: string): { first: number; last: number } | null {
  const match = /^(\d+)(?:-(\d+))?$/.exec(input);
  if (match === null) return null;
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  return Number.isSafeInteger(last) && first <= last ? { first, last } : null;
}

const TIME_UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1 };

/** `250us`, `5ms`, `1.5s`, `2m`, `1h` in milliseconds; a number alone is milliseconds. Null when it is no time. */
export function parseMs(input: string): number | null {
  const match = /^(\d*\.?\d+)(us|ms|s|m|h|)$/.exec(input);
  return match === null ? null : Number(match[1]) * TIME_UNITS[match[2]!]!;
}

const BYTE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** `4096`, `4k`, `1MiB`, `2G`: binary prefixes, `B` and `iB` may follow. Null when it is no size. */
export function parseBytes(input: string): number | null {
  const match = /^(\d*\.?\d+)([kmgt]?)(?:i?b)?$/i.exec(input);
  return match === null ? null : Number(match[1]) * BYTE_UNITS[match[2]!.toLowerCase()]!;
}

/** Which of the words a kept text names, as bits in the order of the choices. */
export function wordBits(choices: readonly string[], kept: string): number {
  if (kept === 'all') return (1 << choices.length) - 1;
  return choices.reduce((bits, word, i) => (kept.split(' ').includes(word) ? bits | (1 << i) : bits), 0);
}
