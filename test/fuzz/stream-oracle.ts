import { crc32c, Memory } from '@nvbraid/base';
import { Fes, PduFlag, PduType } from '@nvbraid/wire';
import type { Reply } from '../support/replies.ts';

/*
 * A second opinion, written from the specification and without the framer: says for any bytes that a host may send
 * whether the controller must give the connection up, and which fatal error statuses are right then. It keeps the whole
 * stream and is slow and simple. Where the specification leaves a choice, both are allowed (`may`).
 */
export interface OracleOptions {
  inCapsuleBytes: number;
  maxH2CDataBytes: number;
  cpda: number;
}

const HLEN: Readonly<Record<number, number>> = { 0: 128, 2: 24, 4: 72, 6: 24 };
const TO_HOST = new Set<number>([
  PduType.ICResp,
  PduType.C2HTermReq,
  PduType.CapsuleResp,
  PduType.C2HData,
  PduType.R2T,
]);
const { InvalidPduHeaderField, PduSequenceError, HeaderDigestError, UnsupportedParameter } = Fes;
const { DataTransferOutOfRange, DataTransferLimitExceeded } = Fes;
const SLOTS_BEFORE_CONNECT = 2;

interface OpenR2t {
  cid: number;
  next: number;
  end: number;
}

export class StreamOracle {
  /** Fatal error statuses of which one must come, once something is wrong beyond doubt. */
  readonly must = new Set<number>();
  /** Fatal error statuses that would be right as well, for what was given last. */
  readonly may = new Set<number>();
  /** The host has said goodbye: the controller must close without a word. */
  ended = false;
  /** Commands that were given and not answered. */
  outstanding = 0;
  /** By command identifier: bytes that the host has room for. */
  readonly room = new Map<number, number>();
  /** Alignment of payload towards the host, in bytes. */
  hostAlign = 4;
  readonly #options: OracleOptions;
  #bytes = Memory.alloc(0);
  #length = 0;
  #at = 0;
  #headerSeen = false;
  #icReqSeen = false;
  #hdgst = false;
  #ddgst = false;
  #sqSize = SLOTS_BEFORE_CONNECT;
  #bound = false;
  readonly #r2ts = new Map<number, OpenR2t>();
  #maxR2t = 1;
  readonly #connects = new Map<number, number>();

  constructor(options: OracleOptions) {
    this.#options = options;
  }

  /** Bytes that the controller is about to be given in one piece. */
  give(bytes: Uint8Array, start: number, end: number): void {
    this.#append(bytes, start, end);
    this.may.clear();
    while (this.must.size === 0 && !this.ended && this.#step()) {}
  }

  /** What the controller has answered to everything that was given. Answers a complaint, or null. */
  reply(reply: Reply): string | null {
    switch (reply.kind) {
      case 'ICResp':
        if (!this.#icReqSeen) return 'ICResp without ICReq';
        this.#hdgst = reply.hdgst;
        this.#ddgst = reply.ddgst;
        return null;
      case 'R2T': {
        const room = this.room.get(reply.cid);
        if (room === undefined) return `R2T for command ${reply.cid}, which nobody sent`;
        if (reply.length === 0 || reply.offset + reply.length > room) return `R2T beyond the ${room} bytes of the host`;
        if (this.#r2ts.has(reply.ttag)) return `ttag ${reply.ttag} used twice`;
        this.#r2ts.set(reply.ttag, { cid: reply.cid, next: reply.offset, end: reply.offset + reply.length });
        const open = [...this.#r2ts.values()].filter((r2t) => r2t.cid === reply.cid).length;
        return open > this.#maxR2t ? `${open} R2Ts under way, MAXR2T allows ${this.#maxR2t}` : null;
      }
      case 'Data': {
        const room = this.room.get(reply.cid);
        if (room === undefined) return `data for command ${reply.cid}, which nobody sent`;
        if (reply.datao + reply.data.length > room) return `data beyond the ${room} bytes of the host`;
        return reply.success ? this.#completed(reply.cid, 0) : null;
      }
      case 'Completion':
        return this.#completed(reply.cid, reply.status);
      case 'TermReq':
        return null;
    }
  }

  #completed(cid: number, status: number): string | null {
    if (!this.room.has(cid)) return `completion of command ${cid}, which nobody sent`;
    this.outstanding--;
    if (this.outstanding < 0) return 'more completions than commands';
    const sqSize = this.#connects.get(cid);
    this.#connects.delete(cid);
    if (sqSize !== undefined && status === 0 && !this.#bound) {
      this.#bound = true;
      this.#sqSize = Math.max(sqSize, SLOTS_BEFORE_CONNECT);
    }
    return null;
  }

  /** The header that was looked at last, for complaints. */
  get place(): string {
    const header = this.#bytes.bytes.subarray(this.#at, Math.min(this.#length, this.#at + 24));
    return `at byte ${this.#at} of ${this.#length}: ${Buffer.from(header).toString('hex')}`;
  }

  /** Looks at the next header, or skips the payload behind it; false when more bytes are needed. */
  #step(): boolean {
    const left = this.#length - this.#at;
    if (left < 8) return false;
    const { bytes, view } = this.#bytes;
    const type = bytes[this.#at]!;
    const flags = bytes[this.#at + 1]!;
    const pdo = bytes[this.#at + 3]!;
    const plen = view.getUint32(this.#at + 4, true);
    if (!this.#headerSeen) {
      this.#commonHeader(type, flags, bytes[this.#at + 2]!, pdo, plen);
      if (this.must.size > 0) {
        // A header that is wrong in two ways may be refused for either, so the rest is looked at if it is there.
        if (HLEN[type] !== undefined && left >= HLEN[type] + 4) this.#specific(type, plen, pdo, this.may);
        if (this.#hdgst && type >= PduType.CapsuleCmd) this.may.add(HeaderDigestError);
        return false;
      }
      const size = HLEN[type]! + this.#headerDigest(type);
      if (left < size) return false;
      if (this.#headerDigest(type) > 0) {
        const computed = crc32c(this.#bytes, this.#at, size - 4);
        if (computed !== view.getUint32(this.#at + size - 4, true)) this.must.add(HeaderDigestError);
      }
      this.#specific(type, plen, pdo, this.must);
      if (this.must.size > 0) return false;
      this.#headerSeen = true;
      this.#accepted(type);
      if (type === PduType.H2CTermReq && left >= plen) this.ended = true;
    }
    if (left < plen) return false;
    if (type === PduType.H2CTermReq) this.ended = true;
    if (type === PduType.H2CData) this.#dataArrived(plen, pdo);
    this.#at += plen;
    this.#headerSeen = false;
    return true;
  }

  #headerDigest(type: number): number {
    return this.#hdgst && type >= PduType.CapsuleCmd ? 4 : 0;
  }

  #dataLength(type: number, plen: number, pdo: number): number {
    const hasData = type === PduType.H2CData || (type === PduType.CapsuleCmd && plen > 72 + this.#headerDigest(type));
    return hasData ? plen - pdo - (this.#ddgst ? 4 : 0) : 0;
  }

  /** NVMe-TCP 3.6.1 and what 3.6.2 says of each type's sizes. */
  #commonHeader(type: number, flags: number, hlen: number, pdo: number, plen: number): void {
    const must = this.must;
    if (TO_HOST.has(type)) {
      must.add(PduSequenceError).add(InvalidPduHeaderField);
      return;
    }
    const size = HLEN[type];
    if (size === undefined) {
      must.add(InvalidPduHeaderField);
      if (!this.#icReqSeen) must.add(PduSequenceError);
      return;
    }
    if (type === PduType.ICReq ? this.#icReqSeen : !this.#icReqSeen && type !== PduType.H2CTermReq) {
      // The sequence may be judged when the whole header is there, so that sizes are judged first.
      this.may.add(PduSequenceError);
    }
    if (hlen !== size) must.add(InvalidPduHeaderField);
    if (type === PduType.ICReq && plen !== size) must.add(InvalidPduHeaderField);
    if (type === PduType.H2CTermReq && (plen < size || plen > 152)) must.add(InvalidPduHeaderField);
    if (type === PduType.ICReq || type === PduType.H2CTermReq) return;
    const header = size + this.#headerDigest(type);
    if (((flags & PduFlag.HDGSTF) !== 0) !== this.#hdgst) must.add(InvalidPduHeaderField);
    if (type === PduType.CapsuleCmd && plen === header) return;
    const align = (this.#options.cpda + 1) * 4;
    if (plen < header || pdo < header || pdo % align !== 0) must.add(InvalidPduHeaderField);
    if (((flags & PduFlag.DDGSTF) !== 0) !== this.#ddgst) must.add(InvalidPduHeaderField);
    const length = this.#dataLength(type, plen, pdo);
    if (length <= 0) must.add(InvalidPduHeaderField);
    if (type === PduType.CapsuleCmd && length > this.#options.inCapsuleBytes) must.add(InvalidPduHeaderField);
    if (type === PduType.H2CData && length > this.#options.maxH2CDataBytes) must.add(DataTransferLimitExceeded);
  }

  /** What the rest of the header must fulfil; complaints go to `into`. */
  #specific(type: number, plen: number, pdo: number, into: Set<number>): void {
    const { bytes, view } = this.#bytes;
    const at = this.#at;
    if (type === PduType.ICReq ? this.#icReqSeen : !this.#icReqSeen && type !== PduType.H2CTermReq) {
      into.add(PduSequenceError);
    }
    if (type === PduType.ICReq) {
      if (view.getUint16(at + 8, true) !== 0) into.add(UnsupportedParameter);
      if (bytes[at + 10]! > 31) into.add(InvalidPduHeaderField).add(UnsupportedParameter);
    }
    if (type === PduType.CapsuleCmd) {
      // The queue is full: before Connect has been answered its size is not known to both sides.
      if (this.outstanding >= this.#sqSize) (this.#bound ? into : this.may).add(PduSequenceError);
    }
    if (type === PduType.H2CData) {
      const datal = view.getUint32(at + 16, true);
      if (datal !== this.#dataLength(type, plen, pdo)) into.add(InvalidPduHeaderField);
      const r2t = this.#r2ts.get(view.getUint16(at + 10, true));
      if (r2t === undefined || r2t.cid !== view.getUint16(at + 8, true)) {
        into.add(InvalidPduHeaderField);
        this.may.add(PduSequenceError).add(DataTransferOutOfRange);
        return;
      }
      const datao = view.getUint32(at + 12, true);
      if (datao !== r2t.next || datao + datal > r2t.end) {
        into.add(DataTransferOutOfRange);
        this.may.add(InvalidPduHeaderField);
      }
      // Whether several R2Ts of one command may be answered in another order is left open.
      const older = [...this.#r2ts.values()].some((other) => other.cid === r2t.cid && other.end < r2t.end);
      if (older) this.may.add(DataTransferOutOfRange);
      const last = (bytes[at + 1]! & PduFlag.LAST_PDU) !== 0;
      if (last !== (datao + datal === r2t.end)) this.may.add(InvalidPduHeaderField).add(PduSequenceError);
    }
  }

  /** The header is right: what it changes at once. */
  #accepted(type: number): void {
    const { bytes, view } = this.#bytes;
    const at = this.#at;
    if (type === PduType.ICReq) {
      this.#icReqSeen = true;
      this.hostAlign = (bytes[at + 10]! + 1) * 4;
      this.#hdgst = (bytes[at + 11]! & 1) !== 0;
      this.#ddgst = (bytes[at + 11]! & 2) !== 0;
      this.#maxR2t = view.getUint32(at + 12, true) + 1;
    } else if (type === PduType.CapsuleCmd) {
      const sqe = at + 8;
      const cid = view.getUint16(sqe + 2, true);
      this.outstanding++;
      this.room.set(cid, Math.max(this.room.get(cid) ?? 0, view.getUint32(sqe + 32, true)));
      // A second command of the same identifier is refused; the answers come in order, the first one is the Connect's.
      const connects = bytes[sqe] === 0x7f && bytes[sqe + 4] === 1;
      if (connects && !this.#connects.has(cid)) this.#connects.set(cid, view.getUint16(sqe + 44, true) + 1);
    }
  }

  #dataArrived(plen: number, pdo: number): void {
    const { view } = this.#bytes;
    const ttag = view.getUint16(this.#at + 10, true);
    const r2t = this.#r2ts.get(ttag)!;
    r2t.next += this.#dataLength(PduType.H2CData, plen, pdo);
    if (r2t.next === r2t.end) this.#r2ts.delete(ttag);
  }

  #append(bytes: Uint8Array, start: number, end: number): void {
    const more = end - start;
    if (this.#length + more > this.#bytes.length) {
      const larger = Memory.alloc(Math.max(4096, 2 * (this.#length + more)));
      larger.bytes.set(this.#bytes.bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.bytes.set(bytes.subarray(start, end), this.#length);
    this.#length += more;
  }
}
