import { NbdContextId, NbdError, NbdState, NbdStatusDescriptor } from '@nvbraid/wire';
import { MAX_EXTENTS } from './limits.ts';
import type { Extent, NbdExport } from './nbd-export.ts';
import { ALLOCATION_ID } from './nbd-negotiation.ts';
import type { NbdSlot } from './nbd-slot.ts';

/** Answers NBD_CMD_BLOCK_STATUS: fills the body of the slot, or its error, then calls `done`. */
export function blockStatus(exported: NbdExport, slot: NbdSlot, one: boolean, done: () => void): void {
  const { offset, length } = slot;
  if (exported.allocation === undefined) {
    slot.body = body([{ length, hole: false, zero: false }], length, one);
    return done();
  }
  exported.allocation(offset, length).then(
    (extents) => {
      slot.body = body(extents, length, one);
      done();
    },
    (error: unknown) => {
      slot.error = NbdError.EIO;
      slot.message = error instanceof Error ? error.message : String(error);
      done();
    },
  );
}

/** Neighbours that say the same become one; the whole never goes beyond `length`. */
function body(extents: readonly Extent[], length: number, one: boolean): Uint8Array {
  const merged: { length: number; flags: number }[] = [];
  let left = length;
  for (const extent of extents) {
    const bytes = Math.min(left, extent.length);
    if (bytes <= 0) break;
    const flags = (extent.hole ? NbdState.Hole : 0) | (extent.zero ? NbdState.Zero : 0);
    const last = merged.at(-1);
    if (last !== undefined && last.flags === flags) last.length += bytes;
    else if (merged.length === (one ? 1 : MAX_EXTENTS)) break;
    else merged.push({ length: bytes, flags });
    left -= bytes;
  }
  // An answer describes something, whatever it was given.
  if (merged.length === 0) merged.push({ length, flags: 0 });
  const bytes = new Uint8Array(NbdContextId.size + merged.length * NbdStatusDescriptor.size);
  const view = new DataView(bytes.buffer);
  NbdContextId.emit(view, 0, { contextId: ALLOCATION_ID });
  merged.forEach((descriptor, i) => {
    NbdStatusDescriptor.emit(view, NbdContextId.size + i * NbdStatusDescriptor.size, descriptor);
  });
  return bytes;
}
