import assert from 'node:assert/strict';
import { Memory, Outbox, Rng, SlabPool } from '@nvbraid/base';
import {
  NBD_OPTION_MAGIC,
  NBD_OPTION_REPLY_MAGIC,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  NbdGreeting,
  NbdOptionReply,
  NbdOptionRequest,
  NbdReply,
  NbdRequest,
  NbdSimpleReply,
  NbdStructuredReply,
} from '@nvbraid/wire';
import { type NbdEnvironment, type NbdExports, NbdSession } from '../../src/index.ts';

export interface OptionReply {
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Reply {
  readonly cookie: number;
  readonly error: number;
  readonly flags: number;
  readonly type: number;
  readonly data: Uint8Array;
}

/** A client of a session, without sockets: what it sends may be cut anywhere, what it gets is taken apart. */
export class Client implements NbdEnvironment {
  readonly pool: SlabPool;
  readonly session: NbdSession;
  /** Cuts what is sent at random places. */
  readonly rng: Rng | null;
  structured = false;
  starvedCount = 0;
  isIdle = false;
  #received: Uint8Array = new Uint8Array(0);
  readonly #out = new Outbox();
  #cookie = 0;

  constructor(exports: NbdExports, options: { seed?: number; poolBytes?: number } = {}) {
    this.pool = new SlabPool(options.poolBytes ?? 1 << 30);
    this.rng = options.seed === undefined ? null : new Rng(options.seed);
    this.session = new NbdSession(this, exports);
  }

  wantTransmit(): void {}

  starved(): void {
    this.starvedCount++;
  }

  idle(): void {
    this.isIdle = true;
  }

  /** Takes what the session has to say; the pool gets its slabs back. */
  collect(): void {
    let more = true;
    while (more) {
      more = this.session.transmit(this.#out);
      const bytes = this.#out.toBytes();
      this.#out.reset();
      const all = new Uint8Array(this.#received.length + bytes.length);
      all.set(this.#received);
      all.set(bytes, this.#received.length);
      this.#received = all;
    }
  }

  /** Bytes that nobody has taken yet. */
  get pending(): number {
    this.collect();
    return this.#received.length;
  }

  take(length: number): Uint8Array {
    this.collect();
    assert.ok(this.#received.length >= length, `${length} bytes wanted, ${this.#received.length} there`);
    const bytes = this.#received.slice(0, length);
    this.#received = this.#received.slice(length);
    return bytes;
  }

  send(...pieces: readonly Uint8Array[]): void {
    for (const bytes of pieces) {
      for (let at = 0; at < bytes.length; ) {
        const length = this.rng === null ? bytes.length - at : Math.min(bytes.length - at, 1 + this.rng.below(40));
        this.#deliver(bytes.subarray(at, at + length));
        at += length;
      }
    }
  }

  #deliver(bytes: Uint8Array): void {
    const { session } = this;
    const direct = this.rng?.chance(0.5) === true ? Math.min(session.directLength, bytes.length) : 0;
    if (direct > 0) {
      session.directMemory.bytes.set(bytes.subarray(0, direct), session.directOffset);
      session.directReceived(direct);
    }
    const memory = Memory.over(bytes.slice(direct));
    if (memory.length > 0) session.receive(memory, 0, memory.length);
    memory.bytes.fill(0xdb); // nothing may be looked at after `receive` has returned
  }

  // ---------------------------------------------------------------- negotiation

  greet(flags = 3): void {
    const greeting = NbdGreeting.parse(new DataView(this.take(NbdGreeting.size).buffer));
    assert.equal(greeting.flags, 3);
    this.send(u32(flags));
  }

  sendOption(option: number, data: Uint8Array = new Uint8Array(0), length = data.length): void {
    const header = NbdOptionRequest.toBytes({
      magicHigh: NBD_OPTION_MAGIC[0],
      magicLow: NBD_OPTION_MAGIC[1],
      option,
      length,
    });
    this.send(header, data);
  }

  optionReply(option: number): OptionReply {
    const header = NbdOptionReply.parse(new DataView(this.take(NbdOptionReply.size).buffer));
    assert.deepEqual([header.magicHigh, header.magicLow], NBD_OPTION_REPLY_MAGIC);
    assert.equal(header.option, option);
    return { type: header.type, data: this.take(header.length) };
  }

  /** All replies up to the one that ends the option. */
  option(option: number, data?: Uint8Array): OptionReply[] {
    this.sendOption(option, data);
    const replies: OptionReply[] = [];
    for (;;) {
      const reply = this.optionReply(option);
      replies.push(reply);
      if (reply.type === NbdReply.Ack || reply.type >= 0x80000000) return replies;
    }
  }

  /** Greets, asks for structured replies and the allocation context if wanted, and enters the export. */
  go(name = '', options: { structured?: boolean; allocation?: boolean } = {}): OptionReply[] {
    this.greet();
    if (options.structured === true || options.allocation === true) {
      assert.equal(this.option(8)[0]!.type, NbdReply.Ack);
      this.structured = true;
    }
    if (options.allocation === true) {
      const replies = this.option(10, concat(text(name), u32(1), text('base:allocation')));
      assert.deepEqual(
        replies.map(({ type }) => type),
        [NbdReply.MetaContext, NbdReply.Ack],
      );
    }
    const replies = this.option(7, concat(text(name), u16(1), u16(3)));
    assert.equal(replies.at(-1)!.type, NbdReply.Ack, 'GO');
    return replies;
  }

  // ---------------------------------------------------------------- requests

  request(type: number, offset: number, length: number, flags = 0, data?: Uint8Array): number {
    const cookie = ++this.#cookie;
    const header = NbdRequest.toBytes({
      magic: NBD_REQUEST_MAGIC,
      flags,
      type,
      cookieHigh: 0xabcd1234,
      cookieLow: cookie,
      offset,
      length,
    });
    this.send(header, ...(data === undefined ? [] : [data]));
    return cookie;
  }

  /** The next reply. @param readLength bytes that follow a simple reply to a read that went well */
  reply(readLength = 0): Reply {
    if (!this.structured) {
      const header = NbdSimpleReply.parse(new DataView(this.take(NbdSimpleReply.size).buffer));
      assert.equal(header.magic, NBD_SIMPLE_REPLY_MAGIC);
      assert.equal(header.cookieHigh, 0xabcd1234);
      const data = header.error === 0 ? this.take(readLength) : new Uint8Array(0);
      return { cookie: header.cookieLow, error: header.error, flags: 1, type: -1, data };
    }
    const header = NbdStructuredReply.parse(new DataView(this.take(NbdStructuredReply.size).buffer));
    assert.equal(header.magic, NBD_STRUCTURED_REPLY_MAGIC);
    assert.equal(header.cookieHigh, 0xabcd1234);
    const data = this.take(header.length);
    const error = header.type >= 0x8000 ? new DataView(data.buffer).getUint32(0) : 0;
    return { cookie: header.cookieLow, error, flags: header.flags, type: header.type, data };
  }
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** A text behind its length. */
export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return concat(u32(bytes.length), bytes);
}

export function concat(...pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
