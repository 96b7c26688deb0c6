import type { Outbox } from '@nvbraid/base';
import {
  NBD_REPLY_DONE,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  NbdChunk,
  NbdCommand,
  NbdErrorChunk,
  NbdOffset,
  NbdSimpleReply,
  NbdStructuredReply,
} from '@nvbraid/wire';
import type { NbdSlot } from './nbd-slot.ts';

const MESSAGE_BYTES = 160;
/** Arena bytes of one reply at most, its body not counted. */
export const REPLY_ARENA_BYTES = NbdStructuredReply.size + Math.max(NbdOffset.size, NbdErrorChunk.size + MESSAGE_BYTES);
const encoder = new TextEncoder();

/** Writes the reply to a request that has ended; data of a read is referenced where it lies. */
export function emitReply(out: Outbox, slot: NbdSlot, structured: boolean): void {
  if (!structured) return simple(out, slot);
  if (slot.error !== 0) return error(out, slot);
  if (slot.type === NbdCommand.Read && slot.length > 0) {
    chunk(out, slot, NbdChunk.OffsetData, NbdOffset.size + slot.length);
    NbdOffset.offset.set(out.arena.view, out.reserve(NbdOffset.size), slot.offset);
    out.append(slot.slab!, 0, slot.length);
  } else if (slot.body !== null) {
    chunk(out, slot, NbdChunk.BlockStatus, slot.body.length);
    out.arena.bytes.set(slot.body, out.reserve(slot.body.length));
  } else chunk(out, slot, NbdChunk.None, 0);
}

function simple(out: Outbox, slot: NbdSlot): void {
  const { view } = out.arena;
  const at = out.reserve(NbdSimpleReply.size);
  NbdSimpleReply.magic.set(view, at, NBD_SIMPLE_REPLY_MAGIC);
  NbdSimpleReply.error.set(view, at, slot.error);
  NbdSimpleReply.cookieHigh.set(view, at, slot.cookieHigh);
  NbdSimpleReply.cookieLow.set(view, at, slot.cookieLow);
  if (slot.type === NbdCommand.Read && slot.error === 0 && slot.length > 0) out.append(slot.slab!, 0, slot.length);
}

function chunk(out: Outbox, slot: NbdSlot, type: number, length: number): void {
  const { view } = out.arena;
  const at = out.reserve(NbdStructuredReply.size);
  NbdStructuredReply.magic.set(view, at, NBD_STRUCTURED_REPLY_MAGIC);
  NbdStructuredReply.flags.set(view, at, NBD_REPLY_DONE);
  NbdStructuredReply.type.set(view, at, type);
  NbdStructuredReply.cookieHigh.set(view, at, slot.cookieHigh);
  NbdStructuredReply.cookieLow.set(view, at, slot.cookieLow);
  NbdStructuredReply.length.set(view, at, length);
}

function error(out: Outbox, slot: NbdSlot): void {
  const message = encoder.encode(slot.message).slice(0, MESSAGE_BYTES);
  chunk(out, slot, NbdChunk.Error, NbdErrorChunk.size + message.length);
  const at = out.reserve(NbdErrorChunk.size + message.length);
  NbdErrorChunk.emit(out.arena.view, at, { error: slot.error, messageLength: message.length });
  out.arena.bytes.set(message, at + NbdErrorChunk.size);
}
