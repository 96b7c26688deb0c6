/** Values of attributes as configfs shows them: text without the final newline. */
export interface ValueType {
  /** What is asked for, e.g. `a whole number from 1 to 128`: for help and refusals. */
  readonly says: string;
  /** The one spelling of a value that is kept and shown; null when the text is none. */
  parse(text: string): string | null;
  /** What is wrong with a text that is none, where more can be said than `says` does. */
  why?(text: string): string | null;
}

const FLAG_WORDS: Readonly<Record<string, string>> = {
  ...{ '1': '1', y: '1', yes: '1', t: '1', true: '1', on: '1' },
  ...{ '0': '0', n: '0', no: '0', f: '0', false: '0', off: '0' },
};

/** What kstrtobool of Linux takes. */
export const flag: ValueType = {
  says: '0 or 1',
  parse: (text) => {
    const word = text.toLowerCase();
    return Object.hasOwn(FLAG_WORDS, word) ? FLAG_WORDS[word]! : null;
  },
};

/** `1` alone: writing it makes something happen. */
export const trigger: ValueType = { says: '1', parse: (text) => (flag.parse(text) === '1' ? '1' : null) };

/** A whole number, decimal or 0x…; shown in decimal. */
export function whole(min: number, max: number): ValueType {
  return { says: `a whole number from ${min} to ${max}`, parse: (text) => map(numberOf(text, min, max), String) };
}

/** The same, shown as `0x` with at least `digits` digits. */
export function hex(max: number, digits: number): ValueType {
  const show = (value: number): string => `0x${value.toString(16).padStart(digits, '0')}`;
  return { says: `a whole number from 0 to ${show(max)}`, parse: (text) => map(numberOf(text, 0, max), show) };
}

/** One of some words. */
export function word(...words: string[]): ValueType {
  return { says: `one of ${words.join(', ')}`, parse: (text) => (words.includes(text) ? text : null) };
}

/** Some characters that people can read, up to `max` of them. */
export function text(max: number, says = `1 to ${max} printable ASCII characters`): ValueType {
  return { says, parse: (value) => (value.length <= max && /^[\x20-\x7e]+$/.test(value) ? value : null) };
}

/** An address or a service: no spaces. */
export function address(max: number): ValueType {
  return {
    says: `an address of at most ${max} characters`,
    parse: (value) => (value.length <= max && /^[\x21-\x7e]+$/.test(value) ? value : null),
  };
}

export const path: ValueType = {
  says: 'a path',
  // A path is bytes without zero; configfs ends it at the first newline.
  parse: (value) => (value !== '' && value.length <= 4095 && !/[\0\n]/.test(value) ? value : null),
};

/** Lower case, with dashes, as `%pUb` of Linux shows it. */
export const uuid: ValueType = {
  says: 'a UUID',
  parse: (value) => (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value) ? value.toLowerCase() : null),
};

/** Sixteen bytes in hexadecimal, `-` or `:` between them as one likes; shown as a UUID is. */
export const nguid: ValueType = {
  says: '16 bytes in hexadecimal',
  parse: (value) => {
    const match = /^(?:[0-9a-f]{2}[-:]?){15}[0-9a-f]{2}$/i.exec(value);
    if (match === null) return null;
    const digits = value.replace(/[-:]/g, '').toLowerCase();
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  },
};

export const eui64: ValueType = {
  says: '8 bytes in hexadecimal, not all zero',
  parse: (value) => {
    const digits = value.replace(/[-:]/g, '').toLowerCase();
    return /^[0-9a-f]{16}$/.test(digits) && !/^0+$/.test(digits) ? digits : null;
  },
};

/** Any value of JSON, kept on one line with sorted keys. `problem` says what is wrong with one, or null. */
export function json(says: string, problem: (value: unknown) => string | null): ValueType {
  const why = (value: string): string | null => {
    try {
      return problem(JSON.parse(value));
    } catch {
      return 'is not JSON';
    }
  };
  return { says, parse: (value) => (why(value) === null ? compactJson(JSON.parse(value)) : null), why };
}

/** Takes `''` too: nothing is set. */
export function orNothing(type: ValueType): ValueType {
  return { ...type, says: `${type.says}, or nothing`, parse: (value) => (value === '' ? '' : type.parse(value)) };
}

/** JSON on one line, keys sorted: equal values have equal texts. */
export function compactJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes, with KiB, MiB, GiB, TiB (or the letter alone) behind them as one likes; shown as a plain number. */
export const bytes: ValueType = {
  says: 'a number of bytes such as 4096, 512MiB or 1GiB',
  parse: (value) => {
    const match = /^([0-9]+)\s*(|[kmgt])(?:i?b)?$/i.exec(value);
    if (match === null) return null;
    const size = Number(match[1]) * UNITS[match[2]!.toLowerCase()]!;
    return Number.isSafeInteger(size) && size > 0 ? String(size) : null;
  },
};

function numberOf(value: string, min: number, max: number): number | null {
  if (!/^(-?(0|[1-9][0-9]*)|0x[0-9a-f]+)$/i.test(value)) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) && number >= min && number <= max ? number + 0 : null;
}

function map<T>(value: T | null, to: (value: T) => string): string | null {
  return value === null ? null : to(value);
}
