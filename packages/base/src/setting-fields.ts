import { type Plain, parseBytes, parseMs, parseRange, type Setting } from './settings.ts';

/* The kinds of settings: each makes a row of a table that `readSettings` reads. */

/** The same field, which may also be null; text for it is `none`. */
export function orNone<T extends Plain>(field: Setting<T>): Setting<T | null> {
  return {
    ...field,
    default: null,
    what: `${field.what}, or none`,
    read: (input) => (input === null || input === 'none' ? null : field.read(input)),
  };
}

function numberField(
  min: number,
  max: number,
  byDefault: number,
  help: string,
  value: string,
  what: string,
  parse: (text: string) => number,
  whole: boolean,
): Setting<number> {
  return {
    default: byDefault,
    help,
    value,
    what,
    read: (input) => {
      const number = typeof input === 'string' && input.trim() !== '' ? parse(input.trim()) : input;
      if (typeof number !== 'number' || !(number >= min && number <= max)) return undefined;
      return whole && !Number.isInteger(number) ? undefined : number;
    },
  };
}

/** A whole number, in text also hexadecimal. */
export function wholeNumber(min: number, max: number, byDefault: number, help: string): Setting<number> {
  return numberField(min, max, byDefault, help, 'NUMBER', `a whole number from ${min} to ${max}`, Number, true);
}

/** A fraction, in text also `5%`. */
export function probability(byDefault: number, help: string): Setting<number> {
  const parse = (text: string): number => (text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text));
  return numberField(0, 1, byDefault, help, 'PROBABILITY', 'a probability from 0 to 1', parse, false);
}

/** Milliseconds; in text with a unit: `us`, `ms`, `s`, `m`. */
export function milliseconds(max: number, byDefault: number, help: string): Setting<number> {
  const what = `a time such as 5ms, from 0 to ${max / 1000}s (a number means milliseconds)`;
  return numberField(0, max, byDefault, help, 'TIME', what, (text) => parseMs(text) ?? Number.NaN, false);
}

/** Bytes; in text with a suffix: `4k`, `1MiB`. */
export function byteCount(min: number, max: number, byDefault: number, help: string): Setting<number> {
  const what = `a number of bytes such as 65536 or 1MiB, from ${min} to ${max}`;
  return numberField(min, max, byDefault, help, 'BYTES', what, (text) => parseBytes(text) ?? Number.NaN, true);
}

export function flag(byDefault: boolean, help: string): Setting<boolean> {
  return {
    default: byDefault,
    help,
    value: 'true|false',
    what: 'true or false',
    read: (input) =>
      input === true || input === 'true' || input === 'on'
        ? true
        : input === false || input === 'false' || input === 'off'
          ? false
          : undefined,
  };
}

export function text(maxLength: number, help: string, value: string): Setting<string> {
  return {
    default: '',
    help,
    value,
    what: `a text of 1 to ${maxLength} characters`,
    read: (input) => (typeof input === 'string' && input.length > 0 && input.length <= maxLength ? input : undefined),
  };
}

export function choice<const C extends readonly string[]>(
  choices: C,
  byDefault: C[number],
  help: string,
): Setting<C[number]> {
  return {
    default: byDefault,
    help,
    value: choices.join('|'),
    what: `one of ${choices.join(', ')}`,
    read: (input) => choices.find((candidate) => candidate === input),
  };
}

/** Several of some words, separated by blanks or `+`, or as an array; `all` and `none`. Kept as a text. */
export function words(choices: readonly string[], byDefault: string, help: string): Setting<string> {
  return {
    default: byDefault,
    help,
    value: 'WORDS',
    what: `some of ${choices.join(', ')} with blanks or + between them, or all, or none`,
    read: (input) => {
      const list = Array.isArray(input) ? input : typeof input === 'string' ? input.split(/[\s+]+/) : [];
      if (list.length === 0) return Array.isArray(input) ? 'none' : undefined;
      if (list.length === 1 && (list[0] === 'all' || list[0] === 'none')) return list[0];
      return list.every((word) => choices.includes(word))
        ? choices.filter((word) => list.includes(word)).join(' ')
        : undefined;
    },
  };
}

/** `first-last`, both included, or one number. Kept as a text. */
export function numberRange(max: number, help: string): Setting<string> {
  return {
    default: '',
    help,
    value: 'FIRST-LAST',
    what: `a range such as 100-199 with numbers up to ${max}`,
    read: (input) => {
      const range = parseRange(String(input));
      return range === null || range.last > max ? undefined : `${range.first}-${range.last}`;
    },
  };
}
