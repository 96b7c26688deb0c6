import { parseMs, type Rng, type Setting } from '@nvbraid/base';
import { DELAY_CHARS, MAX_DELAY_MS } from '../limits.ts';

/*
 * How long something takes, as text:
 *
 *   5ms                          always
 *   uniform 1ms 5ms              evenly between the two
 *   exponential 5ms              exponentially with this mean
 *   p50=1ms p99=50ms p100=2s     by percentiles, evenly between them; 0 below the first, the last beyond it
 */

export type DelayModel = (rng: Rng) => number;

export function delaySetting(help: string): Setting<string> {
  return {
    default: '0',
    help,
    value: 'DELAY',
    what: `a delay such as '5ms', 'uniform 1ms 5ms', 'exponential 5ms' or 'p50=1ms p99=50ms', up to ${MAX_DELAY_MS / 1000}s`,
    read: (input) => {
      const text = typeof input === 'number' ? String(input) : input;
      if (typeof text !== 'string' || text.length > DELAY_CHARS) return undefined;
      const kept = text.trim().split(/\s+/).join(' ');
      return delayModel(kept) === undefined ? undefined : kept;
    },
  };
}

/** @returns null for no delay at all, undefined when the text is no delay */
export function delayModel(text: string): DelayModel | null | undefined {
  const [first = '', ...rest] = text.split(' ');
  if (/^p[\d.]+=/.test(first)) return percentiles([first, ...rest]);
  if (first === 'uniform') {
    const [from, to] = rest.map(parseDelay);
    if (rest.length !== 2 || from === undefined || to === undefined || from > to) return undefined;
    return to === 0 ? null : (rng) => from + (to - from) * fraction(rng);
  }
  if (first === 'exponential') {
    const mean = rest.length === 1 ? parseDelay(rest[0]!) : undefined;
    if (mean === undefined) return undefined;
    return mean === 0 ? null : (rng) => Math.min(MAX_DELAY_MS, -mean * Math.log(1 - fraction(rng)));
  }
  const fixed = rest.length === 0 ? parseDelay(first) : undefined;
  if (fixed === undefined) return undefined;
  return fixed === 0 ? null : () => fixed;
}

function parseDelay(text: string): number | undefined {
  const ms = parseMs(text);
  return ms === null || ms > MAX_DELAY_MS ? undefined : ms;
}

function percentiles(words: readonly string[]): DelayModel | null | undefined {
  const shares = [0];
  const delays = [0];
  for (const word of words) {
    const match = /^p([\d.]+)=(.+)$/.exec(word);
    const ms = match === null ? undefined : parseDelay(match[2]!);
    const share = match === null ? Number.NaN : Number(match[1]) / 100;
    if (ms === undefined || !(share <= 1) || share < shares.at(-1)! || ms < delays.at(-1)!) return undefined;
    shares.push(share);
    delays.push(ms);
  }
  return (rng) => {
    const at = fraction(rng);
    let i = 1;
    while (i < shares.length && shares[i]! <= at) i++;
    if (i === shares.length) return delays[i - 1]!;
    const width = shares[i]! - shares[i - 1]!;
    return delays[i - 1]! + ((at - shares[i - 1]!) / width) * (delays[i]! - delays[i - 1]!);
  };
}

function fraction(rng: Rng): number {
  return rng.u32() / 2 ** 32;
}
