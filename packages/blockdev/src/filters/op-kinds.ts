import { fields, type Setting, wordBits } from '@nvbraid/base';
import type { IoOp } from '../block-device.ts';

/**
 * The kinds of operations that filters tell apart, in the order of IoOp. An operation that is not in the list is
 * `other` (`compare` is Compare-and-Write): a new one passes every filter that does not say what it does with it.
 */
export const OP_KINDS = ['read', 'write', 'flush', 'zeroes', 'deallocate', 'compare', 'other'] as const;

const OTHER = OP_KINDS.length - 1;

/** Index in OP_KINDS. */
export function kindOf(op: IoOp): number {
  return op < OTHER ? op : OTHER;
}

/** A setting that names kinds of operations. */
export function opsSetting(byDefault: string, help: string): Setting<string> {
  return fields.words(OP_KINDS, byDefault, help);
}

/** One bit per kind that the setting names. */
export function opBits(kept: string): number {
  return wordBits(OP_KINDS, kept);
}
