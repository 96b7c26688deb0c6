import type { Rng } from '@nvbraid/base';
import { Memory } from '@nvbraid/base';
import { LOOP_WINDOW_BYTES, RECEIVE_BYTES } from '../limits.ts';

export interface LoopOptions {
  /** Runs a task later, in the order of the calls; default a microtask. A test that keeps the tasks drives the links. */
  schedule?(task: () => void): void;
  /** Given how many bytes could be delivered now, answers how many are: 1 to `available`. Default all. */
  split?(available: number): number;
  /** Bytes under way in one direction before `send` has to keep them; default 256 KiB. */
  windowBytes?: number;
  /** Whether handlers that can receive to a destination get it so; default true. */
  direct?: boolean;
}

/** What the links of one transport have in common. */
export interface LoopSettings {
  readonly schedule: (task: () => void) => void;
  readonly split: (available: number) => number;
  readonly windowBytes: number;
  readonly direct: boolean;
  readonly receiveMemory: Memory;
}

export function loopSettings(options: LoopOptions): LoopSettings {
  return {
    schedule: options.schedule ?? queueMicrotask,
    split: options.split ?? ((available) => available),
    windowBytes: options.windowBytes ?? LOOP_WINDOW_BYTES,
    direct: options.direct ?? true,
    receiveMemory: Memory.alloc(RECEIVE_BYTES),
  };
}

/** For `LoopOptions.split`: deliveries of 1 to `most` bytes, in turn from the seed of `rng`. */
export function splitRandomly(rng: Rng, most: number): (available: number) => number {
  return (available) => rng.between(1, Math.min(most, available));
}

/** For `LoopOptions.split`: deliveries end exactly at these offsets of the bytes that the transport delivers. */
export function splitAt(points: readonly number[]): (available: number) => number {
  const ahead = [...points].sort((a, b) => a - b);
  let delivered = 0;
  return (available) => {
    while (ahead.length > 0 && ahead[0]! <= delivered) ahead.shift();
    const n = ahead.length > 0 ? Math.min(available, ahead[0]! - delivered) : available;
    delivered += n;
    return n;
  };
}
