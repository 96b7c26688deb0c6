import { assert, copyBytes, Memory, type Outbox, Ring, type SlabPool } from '@nvbraid/base';
import { IoOp, IoResult } from '@nvbraid/blockdev';
import {
  NBD_MAGIC,
  NBD_OPTION_MAGIC,
  NBD_REQUEST_MAGIC,
  NbdClientFlags,
  NbdCommand,
  NbdCommandFlag,
  NbdError,
  NbdExportFlag,
  NbdGreeting,
  NbdHandshakeFlag,
  NbdOptionRequest,
  NbdRequest,
} from '@nvbraid/wire';
import { blockStatus } from './block-status.ts';
import { MAX_OPTION_BYTES, MAX_PAYLOAD_BYTES, MAX_REQUESTS, SESSION_SLAB_BYTES } from './limits.ts';
import { exportFlags, type NbdExports } from './nbd-export.ts';
import { type Agreement, NbdNegotiation } from './nbd-negotiation.ts';
import { NbdSlot } from './nbd-slot.ts';
import { emitReply, REPLY_ARENA_BYTES } from './reply.ts';

/** What a session needs from the thread it lives in. */
export interface NbdEnvironment {
  readonly pool: SlabPool;
  /** Something is ready to be sent that no `receive` has caused: call `transmit` soon. */
  wantTransmit(session: NbdSession): void;
  /** A request waits for payload memory: call `retryStarved` when slabs have been given back. */
  starved(session: NbdSession): void;
  /** The connection is gone and no device works for it any more. */
  idle?(session: NbdSession): void;
}

/** What the next bytes of the stream are. */
type Expect = 'flags' | 'option' | 'option-data' | 'request' | 'payload' | 'nothing';

const HEADER_BYTES = MAX_OPTION_BYTES;

/** NBD errors by IoResult, of reads and of everything that changes blocks. */
const ERROR_OF_RESULT: readonly number[] = [
  NbdError.Ok,
  NbdError.EIO,
  NbdError.ENOSPC,
  NbdError.EPERM,
  NbdError.EINVAL,
  NbdError.ENOTSUP,
  NbdError.EIO,
];

/**
 * One client of the server, without I/O: bytes go in by `receive`, replies come out of `transmit`. Requests run as they
 * come and are answered as they end.
 */
export class NbdSession {
  readonly environment: NbdEnvironment;
  /** Why the connection was given up, for the log; empty when the client left in order. */
  trouble = '';
  readonly #negotiation: NbdNegotiation;
  #agreement: Agreement | null = null;
  #flags = 0;
  #expect: Expect = 'flags';
  /** Bytes wanted for what is expected, and how many of them are there. */
  #wanted = NbdClientFlags.size;
  #filled = 0;
  /** Bytes of the stream that nobody wants. */
  #skip = 0;
  readonly #header = Memory.alloc(HEADER_BYTES);
  #option = 0;
  readonly #answers: Uint8Array[] = [];
  #answerAt = 0;
  readonly #free: NbdSlot[] = [];
  #slots = 0;
  #busy = 0;
  #heldBytes = 0;
  readonly #done = new Ring<NbdSlot>(64);
  /** The write whose data is arriving. */
  #current: NbdSlot | null = null;
  /** Reads that found no memory; what was received together with one may bring more of them. */
  readonly #starved = new Ring<NbdSlot>(16);
  #ending = false;
  #closed = false;
  #receiving = false;

  constructor(environment: NbdEnvironment, exports: NbdExports) {
    this.environment = environment;
    this.#negotiation = new NbdNegotiation(exports, this.#answers);
    this.#answers.push(
      NbdGreeting.toBytes({
        magicHigh: NBD_MAGIC[0],
        magicLow: NBD_MAGIC[1],
        optionMagicHigh: NBD_OPTION_MAGIC[0],
        optionMagicLow: NBD_OPTION_MAGIC[1],
        flags: NbdHandshakeFlag.FixedNewstyle | NbdHandshakeFlag.NoZeroes,
      }),
    );
  }

  /** The name of the export in use; null while the client still haggles. */
  get exportName(): string | null {
    return this.#agreement?.export.name ?? null;
  }

  /** Requests that are not answered yet. */
  get outstanding(): number {
    return this.#busy;
  }

  /** True when everything is said and the connection should be closed in order. */
  get finished(): boolean {
    return this.#closed || (this.#ending && this.#busy === 0 && this.#answers.length === 0);
  }

  /** Nothing should be received for now: too many requests, or one that waits for memory. */
  get congested(): boolean {
    return this.#starved.length > 0 || this.#busy >= MAX_REQUESTS;
  }

  get directLength(): number {
    return this.#expect === 'payload' && this.#current?.slab ? this.#current.length - this.#current.received : 0;
  }

  get directMemory(): Memory {
    return this.#current!.slab!;
  }

  get directOffset(): number {
    return this.#current!.received;
  }

  directReceived(length: number): void {
    this.#current!.received += length;
    this.#receiving = true;
    if (this.#current!.received === this.#current!.length) this.#payloadComplete();
    this.#receiving = false;
  }

  /** Takes all bytes from `start` to `end`. */
  receive(memory: Memory, start: number, end: number): void {
    this.#receiving = true;
    let at = start;
    while (at < end && this.#expect !== 'nothing' && !this.#closed) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, end - at);
        this.#skip -= skipped;
        at += skipped;
      } else if (this.#expect === 'payload') at += this.#takePayload(memory, at, end);
      else {
        const length = Math.min(this.#wanted - this.#filled, end - at);
        copyBytes(memory, at, this.#header, this.#filled, length);
        this.#filled += length;
        at += length;
      }
      if (this.#skip === 0 && this.#filled === this.#wanted && this.#expect !== 'payload') this.#next();
    }
    this.#receiving = false;
  }

  /** Fills the outbox with what is ready; true when there is more than went in. */
  transmit(out: Outbox): boolean {
    while (this.#answers.length > 0) {
      const answer = this.#answers[0]!;
      if (!out.room(1, 1)) return true;
      const length = Math.min(answer.length - this.#answerAt, out.arena.length - out.used);
      out.arena.bytes.set(answer.subarray(this.#answerAt, this.#answerAt + length), out.reserve(length));
      this.#answerAt += length;
      if (this.#answerAt < answer.length) return true;
      this.#answers.shift();
      this.#answerAt = 0;
    }
    const { structured } = this.#agreement ?? { structured: false };
    while (this.#done.length > 0) {
      const slot = this.#done.peek()!;
      if (!out.room(4, REPLY_ARENA_BYTES + (slot.body?.length ?? 0)) || out.bytes >= MAX_PAYLOAD_BYTES) return true;
      this.#done.shift();
      emitReply(out, slot, structured);
      if (slot.slab !== null) {
        this.#heldBytes -= slot.slab.length;
        out.releaseAfterSend(slot.slab, this.environment.pool);
        slot.slab = null;
      }
      this.#freeSlot(slot);
    }
    return false;
  }

  /** Runs the requests again that found no memory, in order. */
  retryStarved(): void {
    for (let slot = this.#starved.peek(); slot !== undefined; slot = this.#starved.peek()) {
      if (!this.#takeSlab(slot)) {
        this.environment.starved(this);
        return;
      }
      this.#starved.shift();
      this.#run(slot);
    }
  }

  /** The server goes: what is under way is still answered, nothing new is taken. */
  close(): void {
    this.#end('');
    this.environment.wantTransmit(this);
  }

  /** The connection is gone. */
  closed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#expect = 'nothing';
    this.#answers.length = 0;
    for (let slot = this.#done.shift(); slot !== undefined; slot = this.#done.shift()) this.#drop(slot);
    for (let slot = this.#starved.shift(); slot !== undefined; slot = this.#starved.shift()) this.#drop(slot);
    const current = this.#current;
    this.#current = null;
    if (current !== null) this.#drop(current);
    if (this.#busy === 0) this.environment.idle?.(this);
  }

  // ---------------------------------------------------------------- the stream

  #expectNext(expect: Expect, wanted: number): void {
    this.#expect = expect;
    this.#wanted = wanted;
    this.#filled = 0;
  }

  #next(): void {
    const { view } = this.#header;
    switch (this.#expect) {
      case 'flags': {
        const flags = NbdClientFlags.flags.get(view, 0);
        const known = NbdHandshakeFlag.FixedNewstyle | NbdHandshakeFlag.NoZeroes;
        if ((flags & ~known) !== 0) return this.#end('the client has flags that this server does not know');
        this.#negotiation.noZeroes = (flags & NbdHandshakeFlag.NoZeroes) !== 0;
        return this.#expectNext('option', NbdOptionRequest.size);
      }
      case 'option':
        return this.#optionHeader(view);
      case 'option-data':
        return this.#optionComplete();
      case 'request':
        return this.#request(view);
    }
  }

  #optionHeader(view: DataView): void {
    const high = NbdOptionRequest.magicHigh.get(view, 0);
    const low = NbdOptionRequest.magicLow.get(view, 0);
    if (high !== NBD_OPTION_MAGIC[0] || low !== NBD_OPTION_MAGIC[1]) return this.#end('an option has a wrong magic');
    this.#option = NbdOptionRequest.option.get(view, 0);
    const length = NbdOptionRequest.length.get(view, 0);
    if (length > MAX_OPTION_BYTES) {
      this.#skip = length;
      return this.#step(this.#negotiation.tooBig(this.#option));
    }
    this.#expectNext('option-data', length);
    if (length === 0) this.#optionComplete();
  }

  #optionComplete(): void {
    this.#step(this.#negotiation.take(this.#option, this.#header, 0, this.#filled));
  }

  #step(step: 'option' | 'transmission' | 'close'): void {
    if (step === 'close') return this.#end(`the client gave up at option ${this.#option}`);
    if (step === 'option') return this.#expectNext('option', NbdOptionRequest.size);
    this.#agreement = this.#negotiation.agreement!;
    this.#flags = exportFlags(this.#agreement.export);
    this.#expectNext('request', NbdRequest.size);
  }

  /** No request is taken any more. */
  #end(trouble: string): void {
    if (this.trouble === '') this.trouble = trouble;
    this.#expect = 'nothing';
    this.#ending = true;
  }

  #takePayload(memory: Memory, at: number, end: number): number {
    const slot = this.#current!;
    if (slot.slab === null && !this.#takeSlab(slot)) {
      // The bytes are here and must go somewhere; the session is congested from here on.
      slot.slab = this.environment.pool.takeOverLimit(slot.length);
      this.#heldBytes += slot.slab.length;
    }
    const length = Math.min(slot.length - slot.received, end - at);
    copyBytes(memory, at, slot.slab!, slot.received, length);
    slot.received += length;
    if (slot.received === slot.length) this.#payloadComplete();
    return length;
  }

  #payloadComplete(): void {
    const slot = this.#current!;
    this.#current = null;
    this.#expectNext('request', NbdRequest.size);
    this.#run(slot);
  }

  // ---------------------------------------------------------------- requests

  #request(view: DataView): void {
    if (NbdRequest.magic.get(view, 0) !== NBD_REQUEST_MAGIC) return this.#end('a request has a wrong magic');
    const type = NbdRequest.type.get(view, 0);
    const flags = NbdRequest.flags.get(view, 0);
    const length = NbdRequest.length.get(view, 0);
    this.#expectNext('request', NbdRequest.size);
    if (type === NbdCommand.Disconnect) return this.#end('');
    const slot = this.#takeSlot();
    slot.type = type;
    slot.cookieHigh = NbdRequest.cookieHigh.get(view, 0);
    slot.cookieLow = NbdRequest.cookieLow.get(view, 0);
    slot.offset = NbdRequest.offset.get(view, 0);
    slot.length = length;
    slot.fua = (flags & NbdCommandFlag.Fua) !== 0;
    slot.error = this.#check(slot, flags);
    if (slot.error !== 0) {
      if (type === NbdCommand.Write) this.#skip = length;
      return this.#finish(slot);
    }
    if (type === NbdCommand.Write && length > 0) {
      this.#current = slot;
      this.#expect = 'payload';
      this.#takeSlab(slot);
      return;
    }
    if (type === NbdCommand.Read && length > 0 && (this.#starved.length > 0 || !this.#takeSlab(slot))) {
      this.#starved.push(slot);
      this.environment.starved(this);
      return;
    }
    slot.deallocate = type === NbdCommand.WriteZeroes && (flags & NbdCommandFlag.NoHole) === 0;
    if (type === NbdCommand.BlockStatus) {
      blockStatus(this.#agreement!.export, slot, (flags & NbdCommandFlag.ReqOne) !== 0, () => this.#finish(slot));
    } else this.#run(slot);
  }

  /** 0, or the NBD error with which a request ends before it begins. */
  #check(slot: NbdSlot, flags: number): number {
    const { export: exported, allocation } = this.#agreement!;
    const { device } = exported;
    const { type, offset, length } = slot;
    const allowed = ALLOWED_FLAGS[type];
    if (allowed === undefined) return this.#wrong(slot, `command ${type} is not known`);
    if ((flags & ~allowed) !== 0) return this.#wrong(slot, `flags ${flags.toString(16)}h do not fit the command`);
    if (type === NbdCommand.Flush) return 0;
    if (type === NbdCommand.BlockStatus && !allocation) return this.#wrong(slot, 'no metadata context was chosen');
    if (type === NbdCommand.Trim && (this.#flags & NbdExportFlag.SendTrim) === 0) {
      return this.#wrong(slot, 'the export cannot trim');
    }
    const changes = type === NbdCommand.Write || type === NbdCommand.Trim || type === NbdCommand.WriteZeroes;
    if (changes && device.readOnly) {
      slot.message = 'the export is read-only';
      return NbdError.EPERM;
    }
    const payload = type === NbdCommand.Read || type === NbdCommand.Write;
    if (payload && length > MAX_PAYLOAD_BYTES) {
      slot.message = `a request moves at most ${MAX_PAYLOAD_BYTES} bytes`;
      return type === NbdCommand.Read ? NbdError.EOVERFLOW : NbdError.EINVAL;
    }
    if (offset % device.blockSize !== 0 || length % device.blockSize !== 0) {
      return this.#wrong(slot, `offset and length are multiples of ${device.blockSize}, the minimum block size`);
    }
    if (length === 0 && !payload) return this.#wrong(slot, 'the length is 0');
    if (offset + length > device.blockCount * device.blockSize) {
      slot.message = 'beyond the end of the export';
      return changes ? NbdError.ENOSPC : NbdError.EINVAL;
    }
    return 0;
  }

  #wrong(slot: NbdSlot, message: string): number {
    slot.message = message;
    return NbdError.EINVAL;
  }

  #run(slot: NbdSlot): void {
    const { device } = this.#agreement!.export;
    slot.op = OP_OF_COMMAND[slot.type]!;
    if (slot.length === 0 && slot.op !== IoOp.Flush) return this.#finish(slot);
    if (slot.op === IoOp.Flush) {
      slot.offset = 0;
      slot.length = 0;
    }
    slot.flushAfter = slot.op === IoOp.Deallocate && slot.fua;
    if (slot.slab !== null) {
      slot.memory = slot.slab;
      slot.memoryOffset = 0;
    }
    if (device.submit(slot)) this.operationDone(slot);
  }

  /** Called by the slot. */
  operationDone(slot: NbdSlot): void {
    if (slot.result === IoResult.Ok && slot.flushAfter) {
      slot.flushAfter = false;
      slot.op = IoOp.Flush;
      slot.offset = 0;
      slot.length = 0;
      if (!this.#agreement!.export.device.submit(slot)) return;
    }
    // Devices have results of their own, of zones for one: an error is an error.
    slot.error = ERROR_OF_RESULT[slot.result] ?? NbdError.EIO;
    this.#finish(slot);
  }

  #finish(slot: NbdSlot): void {
    if (this.#closed) {
      this.#drop(slot);
      if (this.#busy === 0) this.environment.idle?.(this);
      return;
    }
    // A write's data is not needed any more; a read's is only when it went well.
    if (slot.slab !== null && (slot.type !== NbdCommand.Read || slot.error !== 0)) this.#giveSlab(slot);
    this.#done.push(slot);
    if (!this.#receiving) this.environment.wantTransmit(this);
  }

  // ---------------------------------------------------------------- slots and their memory

  #takeSlot(): NbdSlot {
    const slot = this.#free.pop() ?? this.#newSlot();
    this.#busy++;
    slot.received = 0;
    slot.fua = false;
    slot.deallocate = false;
    slot.flushAfter = false;
    slot.result = IoResult.Ok;
    slot.error = 0;
    slot.message = '';
    slot.body = null;
    return slot;
  }

  #newSlot(): NbdSlot {
    this.#slots++;
    // What one receive brings may go beyond MAX_REQUESTS, by what fits into a receive buffer.
    assert(this.#slots <= 65536, 'requests of one connection');
    return new NbdSlot(this);
  }

  #freeSlot(slot: NbdSlot): void {
    this.#busy--;
    this.#free.push(slot);
  }

  /** A session that holds nothing gets its slab in any case, so that every client gets on. */
  #takeSlab(slot: NbdSlot): boolean {
    const { pool } = this.environment;
    if (this.#heldBytes > 0 && this.#heldBytes + slot.length > SESSION_SLAB_BYTES) return false;
    const slab = this.#heldBytes === 0 ? pool.takeOverLimit(slot.length) : pool.take(slot.length);
    if (slab === null) return false;
    slot.slab = slab;
    this.#heldBytes += slab.length;
    return true;
  }

  #giveSlab(slot: NbdSlot): void {
    this.#heldBytes -= slot.slab!.length;
    this.environment.pool.give(slot.slab!);
    slot.slab = null;
  }

  #drop(slot: NbdSlot): void {
    if (slot.slab !== null) this.#giveSlab(slot);
    slot.body = null;
    this.#freeSlot(slot);
  }
}

/** Flags that a command may have; a command that is not here is not known. */
const ALLOWED_FLAGS: Readonly<Record<number, number>> = {
  [NbdCommand.Read]: NbdCommandFlag.Df | NbdCommandFlag.Fua,
  [NbdCommand.Write]: NbdCommandFlag.Fua,
  [NbdCommand.Flush]: NbdCommandFlag.Fua,
  [NbdCommand.Trim]: NbdCommandFlag.Fua,
  [NbdCommand.WriteZeroes]: NbdCommandFlag.Fua | NbdCommandFlag.NoHole,
  [NbdCommand.BlockStatus]: NbdCommandFlag.ReqOne | NbdCommandFlag.Fua,
};

const OP_OF_COMMAND: Readonly<Record<number, IoOp>> = {
  [NbdCommand.Read]: IoOp.Read,
  [NbdCommand.Write]: IoOp.Write,
  [NbdCommand.Flush]: IoOp.Flush,
  [NbdCommand.Trim]: IoOp.Deallocate,
  [NbdCommand.WriteZeroes]: IoOp.WriteZeroes,
};
