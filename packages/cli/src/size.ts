import type { StallBound } from 'nvbraid';

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
};

/**
 * Bytes: `4096`, `0x1000`, `4k`, `4KiB`, `1.5GiB` (powers of 1024), `1GB` (powers of 1000).
 * @returns null for anything else, and for what is not a whole number of bytes
 */
export function parseSize(text: string): number | null {
  const hex = parseWholeNumber(text);
  if (hex !== null) return hex;
  const match = /^([0-9]+(?:\.[0-9]+)?)([a-z]*)$/i.exec(text);
  if (match === null) return null;
  const suffix = match[2]!.toLowerCase();
  if (!Object.hasOwn(SUFFIXES, suffix)) return null;
  const bytes = Number(match[1]) * SUFFIXES[suffix]!;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `12`, `0x1f`; null for anything else. */
export function parseWholeNumber(text: string): number | null {
  if (!/^([0-9]+|0x[0-9a-f]+)$/i.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `512 B`, `4 KiB`, `1.5 GiB` */
export function formatSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${trimmed(value)} ${UNITS[unit]}`;
}

/** At most three digits, no trailing zeroes. */
function trimmed(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** `87`, `4.31k`, `1.2M`: for numbers that change while one looks. */
export function formatCount(value: number): string {
  if (value < 1000) return String(Math.round(value));
  if (value < 1e6) return `${three(value / 1e3)}k`;
  if (value < 1e9) return `${three(value / 1e6)}M`;
  return `${three(value / 1e9)}G`;
}

function three(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** `83 us`, `1.24 ms`, `2.5 s` */
export function formatMicroseconds(us: number): string {
  if (us < 1000) return `${Math.round(us)} us`;
  if (us < 1e6) return `${three(us / 1e3)} ms`;
  return `${three(us / 1e6)} s`;
}

/** `5 s`, `3 min 20 s`, `2 h 5 min` */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** What a write does when its path was lost. */
export function formatBound({ ms, formula }: StallBound): string {
  const bound = ms === null ? 'without bound' : `at most ${formatDuration(ms)}`;
  return `a write waits for a lost path ${bound}: ${formula}`;
}

/** `1 block`, `3 blocks` */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
