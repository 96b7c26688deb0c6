import { assert, copyBytes, crc32c, Memory } from '@nvbraid/base';
import { HEADER_MAX, TERM_PLEN_MAX } from '../limits.ts';
import {
  C2HData,
  COMMON_HEADER_SIZE,
  CommonHeader,
  DIGEST_SIZE,
  Fes,
  PDU_HEADER_SIZES,
  PduFlag,
  PduType,
} from './pdu.ts';

/** Who reads the stream: a controller receives what hosts send and the other way round. */
export type FramerRole = 'host' | 'controller';

/**
 * Receives the PDUs of one connection. Per PDU: `pduHeader`, then `pduPlace` if the payload did not arrive in one
 * piece, then `pduEnd`. Views are only valid during the call. Any call may `stop` or `fail` the framer.
 */
export interface PduSink {
  /** A whole header, its digest checked. What the sink finds wrong with it, it tells by `framer.fail`. */
  pduHeader(type: number, view: DataView, base: number): void;
  /**
   * The payload arrives in pieces: set `framer.placeMemory` and `placeOffset` to where `length` bytes fit, or leave
   * null to throw it away. Not called for TermReqs, whose few bytes the framer keeps.
   */
  pduPlace(length: number): void;
  /**
   * The PDU is complete. The payload lies at `offset` of `memory`, either where `pduPlace` said or in the receive
   * buffer, where it stays until this call returns; `length` is 0 when `pduPlace` threw it away. `digestOk` is false
   * when the data digest does not match. A TermReq is the last PDU: nothing is delivered after it.
   */
  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void;
  /**
   * The stream cannot be understood any further; nothing is delivered after this. `header` has `length` valid bytes,
   * which belong into the data of a TermReq.
   */
  pduFatal(fes: number, fei: number, header: Memory, length: number): void;
}

export interface FramerLimits {
  /** Longest in-capsule data of a command capsule, in bytes. */
  maxInCapsule: number;
  /** Longest payload of one H2CData or C2HData PDU, in bytes. */
  maxData: number;
}

const Phase = { Header: 0, Pad: 1, Payload: 2, Digest: 3, Dead: 4 } as const;

/** Header sizes of the types that each side receives; 0 for all others. */
const TO_CONTROLLER = sizesOf([PduType.ICReq, PduType.H2CTermReq, PduType.CapsuleCmd, PduType.H2CData]);
const TO_HOST = sizesOf([PduType.ICResp, PduType.C2HTermReq, PduType.CapsuleResp, PduType.C2HData, PduType.R2T]);

function sizesOf(types: readonly PduType[]): Uint8Array {
  const sizes = new Uint8Array(256);
  for (const type of types) sizes[type] = PDU_HEADER_SIZES[type];
  return sizes;
}

const PLEN = CommonHeader.plen.offset;
const PDO = CommonHeader.pdo.offset;
const FLAGS = CommonHeader.flags.offset;
const HLEN = CommonHeader.hlen.offset;
/** H2CData has its datal in the same place. */
const DATAL = C2HData.datal.offset;

/**
 * Cuts a byte stream into PDUs. Any split of the stream gives the same calls to the sink (`pduPlace` aside). Keeps at
 * most one header; payload that arrives in pieces goes straight to its destination. Nothing is allocated per PDU.
 *
 * What is checked here is what every PDU of a type must fulfil: type and direction, sizes, digests, alignment, limits.
 * The order of PDUs and the meaning of their fields is the sink's.
 */
export class Framer {
  /** Header and data digests as agreed by ICReq and ICResp. */
  hdgst = false;
  ddgst = false;
  /** What the offset of payload in a PDU must be a multiple of, in bytes: 4 * (CPDA or HPDA + 1) as the reader asked. */
  dataAlign = 4;
  /** Set by the sink in `pduPlace`. */
  placeMemory: Memory | null = null;
  placeOffset = 0;
  /** Payload bytes of the PDU whose header was delivered last. */
  dataLength = 0;
  /** PDUs whose header has begun to arrive: tells a PDU that never ends from one that follows another. */
  begun = 0;
  readonly limits: FramerLimits;
  readonly #sink: PduSink;
  readonly #sizes: Uint8Array;
  /** A header that arrives in pieces, a data digest that does, or the payload of a TermReq. */
  readonly #stash = Memory.alloc(HEADER_MAX + DIGEST_SIZE);
  /** Bytes of header or digest in the stash. */
  #have = 0;
  #phase: number = Phase.Header;
  #type = 0;
  /** Header with digest. */
  #headerSize = 0;
  #headerDigested = false;
  #digested = false;
  /** Bytes of padding still to come. */
  #pad = 0;
  /** Bytes of payload that have come. */
  #got = 0;
  /** Digest of payload that is thrown away. */
  #crc = 0;

  constructor(role: FramerRole, sink: PduSink, limits: FramerLimits) {
    this.#sink = sink;
    this.limits = limits;
    this.#sizes = role === 'controller' ? TO_CONTROLLER : TO_HOST;
  }

  /** False once the stream has ended or cannot be understood any further. */
  get alive(): boolean {
    return this.#phase !== Phase.Dead;
  }

  /** True between PDUs. */
  get idle(): boolean {
    return this.#phase === Phase.Header && this.#have === 0;
  }

  /** Bytes until the PDU that has begun is whole: 0 between PDUs and once it is dead, -1 while its length is not known. */
  get toBoundary(): number {
    const digest = this.#digested ? DIGEST_SIZE : 0;
    switch (this.#phase) {
      case Phase.Header:
        if (this.#have === 0) return 0;
        if (this.#have < COMMON_HEADER_SIZE) return -1;
        return this.#headerSize - this.#have + (this.dataLength > 0 ? this.#pad : 0) + this.dataLength + digest;
      case Phase.Pad:
        return this.#pad + this.dataLength + digest;
      case Phase.Payload:
        return this.dataLength - this.#got + digest;
      case Phase.Digest:
        return DIGEST_SIZE - this.#have;
      default:
        return 0;
    }
  }

  /** Stops; the sink gets `pduFatal` with the first `length` bytes of the offending header. Only the first call counts. */
  fail(fes: number, fei: number, view: DataView, base: number, length: number): void {
    if (this.#phase === Phase.Dead) return;
    this.#phase = Phase.Dead;
    const header = this.#stash;
    for (let i = 0; i < length; i++) header.view.setUint8(i, view.getUint8(base + i));
    this.#sink.pduFatal(fes, fei, header, length);
  }

  /** Stops quietly. */
  stop(): void {
    this.#phase = Phase.Dead;
  }

  /** Bytes that may be received straight into `placeMemory` at `directOffset`; 0 when there are none. */
  get directLength(): number {
    const place = this.placeMemory;
    return this.#phase === Phase.Payload && place !== null && place !== this.#stash ? this.dataLength - this.#got : 0;
  }

  get directOffset(): number {
    return this.placeOffset + this.#got;
  }

  /** `length` bytes have been received where `directLength` and `directOffset` said. */
  directReceived(length: number): void {
    if (this.#phase === Phase.Dead) return;
    assert(length <= this.directLength, 'received more than was asked for');
    this.#got += length;
    if (this.#got === this.dataLength) this.#payloadDone();
  }

  /** Takes all bytes of the range. */
  receive(memory: Memory, start: number, end: number): void {
    let p = start;
    while (p < end) {
      switch (this.#phase) {
        case Phase.Header: {
          if (this.#have === 0 && end - p >= COMMON_HEADER_SIZE) {
            if (!this.#commonHeader(memory.view, p)) return;
            const size = this.#headerSize;
            if (end - p >= size) {
              this.#header(memory, p);
              p += size;
              break;
            }
          }
          p = this.#stashHeader(memory, p, end);
          break;
        }
        case Phase.Pad: {
          const n = Math.min(this.#pad, end - p);
          this.#pad -= n;
          p += n;
          if (this.#pad === 0) this.#phase = Phase.Payload;
          break;
        }
        case Phase.Payload:
          p = this.#payload(memory, p, end);
          break;
        case Phase.Digest: {
          const n = Math.min(DIGEST_SIZE - this.#have, end - p);
          copyBytes(memory, p, this.#stash, this.#have, n);
          this.#have += n;
          p += n;
          if (this.#have === DIGEST_SIZE) {
            this.#have = 0;
            this.#finish(this.#stash.view.getUint32(0, true));
          }
          break;
        }
        default:
          return;
      }
    }
  }

  #stashHeader(memory: Memory, from: number, end: number): number {
    let p = from;
    const stash = this.#stash;
    if (this.#have < COMMON_HEADER_SIZE) {
      const n = Math.min(COMMON_HEADER_SIZE - this.#have, end - p);
      copyBytes(memory, p, stash, this.#have, n);
      this.#have += n;
      p += n;
      if (this.#have < COMMON_HEADER_SIZE || !this.#commonHeader(stash.view, 0)) return p;
    }
    const n = Math.min(this.#headerSize - this.#have, end - p);
    copyBytes(memory, p, stash, this.#have, n);
    this.#have += n;
    if (this.#have === this.#headerSize) {
      this.#have = 0;
      this.#header(stash, 0);
    }
    return p + n;
  }

  /** Sets all sizes from the first eight bytes; false when they are wrong, which has been told. */
  #commonHeader(view: DataView, base: number): boolean {
    this.begun++;
    const word = view.getUint32(base, true);
    const type = word & 0xff;
    const size = this.#sizes[type]!;
    if (size === 0) {
      // A type that only the other side may receive is out of place; one that does not exist is a wrong field.
      const known = TO_CONTROLLER[type] !== 0 || TO_HOST[type] !== 0;
      return this.#refuse(known ? Fes.PduSequenceError : Fes.InvalidPduHeaderField, 0, view, base);
    }
    if (((word >>> 16) & 0xff) !== size) return this.#refuse(Fes.InvalidPduHeaderField, HLEN, view, base);
    const plen = view.getUint32(base + 4, true);
    this.#type = type;
    this.#headerDigested = false;
    this.#digested = false;
    this.#headerSize = size;
    this.dataLength = 0;
    // ICReq, ICResp and TermReqs: before digests are agreed, or when nothing holds any more. Flags and pdo are reserved.
    if (type <= PduType.C2HTermReq) {
      const most = type <= PduType.ICResp ? size : TERM_PLEN_MAX;
      if (plen < size || plen > most) return this.#refuse(Fes.InvalidPduHeaderField, PLEN, view, base);
      this.dataLength = plen - size;
      return true;
    }
    const flags = (word >>> 8) & 0xff;
    if (((flags & PduFlag.HDGSTF) !== 0) !== this.hdgst)
      return this.#refuse(Fes.InvalidPduHeaderField, FLAGS, view, base);
    const headerSize = this.hdgst ? size + DIGEST_SIZE : size;
    this.#headerSize = headerSize;
    this.#headerDigested = this.hdgst;
    if (type === PduType.CapsuleResp || type === PduType.R2T || (type === PduType.CapsuleCmd && plen === headerSize))
      return plen === headerSize || this.#refuse(Fes.InvalidPduHeaderField, PLEN, view, base);
    return this.#payloadSizes(type, flags, word >>> 24, plen, view, base);
  }

  /** The rules of PDUs with payload: CapsuleCmd, H2CData, C2HData. */
  #payloadSizes(type: number, flags: number, pdo: number, plen: number, view: DataView, base: number): boolean {
    const digested = this.ddgst;
    if (((flags & PduFlag.DDGSTF) !== 0) !== digested)
      return this.#refuse(Fes.InvalidPduHeaderField, FLAGS, view, base);
    if (type === PduType.C2HData && (flags & (PduFlag.LAST_PDU | PduFlag.SUCCESS)) === PduFlag.SUCCESS)
      return this.#refuse(Fes.InvalidPduHeaderField, FLAGS, view, base);
    if (plen < this.#headerSize) return this.#refuse(Fes.InvalidPduHeaderField, PLEN, view, base);
    if (pdo < this.#headerSize || pdo % this.dataAlign !== 0)
      return this.#refuse(Fes.InvalidPduHeaderField, PDO, view, base);
    const length = plen - pdo - (digested ? DIGEST_SIZE : 0);
    if (length <= 0) return this.#refuse(Fes.InvalidPduHeaderField, PLEN, view, base);
    if (type === PduType.CapsuleCmd) {
      if (length > this.limits.maxInCapsule) return this.#refuse(Fes.InvalidPduHeaderField, PLEN, view, base);
    } else if (length > this.limits.maxData) {
      // To a host there is no limit but that of its command; in its TermReq, status 5 means R2Ts.
      const fes = type === PduType.H2CData ? Fes.DataTransferLimitExceeded : Fes.DataTransferOutOfRange;
      return this.#refuse(fes, 0, view, base);
    }
    this.#pad = pdo - this.#headerSize;
    this.#digested = digested;
    this.dataLength = length;
    return true;
  }

  #refuse(fes: number, fei: number, view: DataView, base: number): false {
    this.fail(fes, fei, view, base, COMMON_HEADER_SIZE);
    return false;
  }

  #header(memory: Memory, base: number): void {
    const view = memory.view;
    const type = this.#type;
    if (this.#headerDigested) {
      const hlen = this.#headerSize - DIGEST_SIZE;
      const digest = view.getUint32(base + hlen, true);
      if (digest !== crc32c(memory, base, hlen)) {
        this.fail(Fes.HeaderDigestError, digest, view, base, hlen);
        return;
      }
    }
    const length = this.dataLength;
    if (type >= PduType.H2CData && type <= PduType.C2HData && view.getUint32(base + DATAL, true) !== length) {
      this.fail(Fes.InvalidPduHeaderField, DATAL, view, base, PDU_HEADER_SIZES[type]);
      return;
    }
    this.#got = 0;
    this.#crc = 0;
    this.placeMemory = null;
    this.#phase = length === 0 ? Phase.Header : this.#pad > 0 ? Phase.Pad : Phase.Payload;
    this.#sink.pduHeader(type, view, base);
    if (length === 0 && this.#phase !== Phase.Dead) this.#end(memory, 0, 0, true);
  }

  #payload(memory: Memory, p: number, end: number): number {
    const length = this.dataLength;
    const here = end - p;
    if (this.#got === 0) {
      const whole = this.#digested ? length + DIGEST_SIZE : length;
      if (here >= whole) {
        const digestOk = !this.#digested || crc32c(memory, p, length) === memory.view.getUint32(p + length, true);
        this.#end(memory, p, length, digestOk);
        return p + whole;
      }
      this.#place(length);
      if (this.#phase !== Phase.Payload) return p;
    }
    const n = Math.min(length - this.#got, here);
    const place = this.placeMemory;
    if (place !== null) copyBytes(memory, p, place, this.placeOffset + this.#got, n);
    else if (this.#digested) this.#crc = crc32c(memory, p, n, this.#crc);
    this.#got += n;
    if (this.#got === length) this.#payloadDone();
    return p + n;
  }

  #place(length: number): void {
    if (this.#type <= PduType.C2HTermReq) {
      this.placeMemory = this.#stash;
      this.placeOffset = 0;
      return;
    }
    this.#sink.pduPlace(length);
    const place = this.placeMemory;
    assert(place === null || this.placeOffset + length <= place.length, 'the payload does not fit its place');
  }

  #payloadDone(): void {
    if (this.#digested) this.#phase = Phase.Digest;
    else this.#finish(0);
  }

  #finish(digest: number): void {
    const place = this.placeMemory;
    if (place === null) {
      this.#end(this.#stash, 0, 0, !this.#digested || this.#crc === digest);
      return;
    }
    const length = this.dataLength;
    this.#end(place, this.placeOffset, length, !this.#digested || crc32c(place, this.placeOffset, length) === digest);
  }

  #end(memory: Memory, offset: number, length: number, digestOk: boolean): void {
    const type = this.#type;
    // After a TermReq its sender says nothing more that counts (NVMe-TCP 3.6.2.3).
    this.#phase = type === PduType.H2CTermReq || type === PduType.C2HTermReq ? Phase.Dead : Phase.Header;
    this.#sink.pduEnd(type, memory, offset, length, digestOk);
  }
}
