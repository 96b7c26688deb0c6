import { copyBytes, crc32c, Memory } from '@nvbraid/base';
import { COMMON_HEADER_SIZE, CommonHeader, DIGEST_SIZE, Fes, PduFlag, PduType } from './pdu.ts';

/** Who reads the stream: a controller receives what hosts send and the other way round. */
export type FramerRole = 'host' | 'controller';

/**
 * Receives the PDUs of one connection. Per PDU: `pduHeader`, then `pduPlace` if the payload did not arrive in one
 * piece, then `pduEnd`. Views are only valid during the call.
 */
export interface PduSink {
  /** A whole header, its digest checked. Errors are told by `framer.fail`. */
  pduHeader(type: number, view: DataView, base: number): void;
  /** The payload arrives in pieces: set `framer.placeMemory` and `placeOffset`, or leave null to throw it away. */
  pduPlace(length: number): void;
  /**
   * The PDU is complete. The payload lies at `offset` of `memory`, either where `pduPlace` said or in the receive
   * buffer, where it stays until this call returns. `digestOk` is false when the data digest does not match.
   */
  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void;
  /** The stream cannot be understood any further; nothing is delivered after this. `header` has `length` valid bytes. */
  pduFatal(fes: number, fei: number, header: Memory, length: number): void;
}

export interface FramerLimits {
  /** Longest in-capsule data of a command capsule, in bytes. */
  maxInCapsule: number;
  /** Longest payload of one H2CData or C2HData PDU, in bytes. */
  maxData: number;
}

const Phase = { Header: 0, Pad: 1, Payload: 2, Digest: 3, Dead: 4 } as const;

/** Header sizes by PDU type; 0 where the type does not exist. */
const HLEN = new Uint8Array(256);
HLEN[PduType.ICReq] = 128;
HLEN[PduType.ICResp] = 128;
HLEN[PduType.H2CTermReq] = 24;
HLEN[PduType.C2HTermReq] = 24;
HLEN[PduType.CapsuleCmd] = 72;
HLEN[PduType.CapsuleResp] = 24;
HLEN[PduType.H2CData] = 24;
HLEN[PduType.C2HData] = 24;
HLEN[PduType.R2T] = 24;

const TO_CONTROLLER = typeSet([PduType.ICReq, PduType.H2CTermReq, PduType.CapsuleCmd, PduType.H2CData]);
const TO_HOST = typeSet([PduType.ICResp, PduType.C2HTermReq, PduType.CapsuleResp, PduType.C2HData, PduType.R2T]);
/** Types that carry no digests: they are exchanged before the digests are agreed, or when nothing holds any more. */
const BARE = typeSet([PduType.ICReq, PduType.ICResp, PduType.H2CTermReq, PduType.C2HTermReq]);
/** Longest TermReq: its header and 128 bytes of the offending one (NVMe-TCP 3.6.2.3). */
const TERM_PLEN_MAX = 152;

function typeSet(types: number[]): Uint8Array {
  const set = new Uint8Array(256);
  for (const type of types) set[type] = 1;
  return set;
}

const PLEN_OFFSET = CommonHeader.plen.offset;
const PDO_OFFSET = CommonHeader.pdo.offset;
const FLAGS_OFFSET = CommonHeader.flags.offset;
const HLEN_OFFSET = CommonHeader.hlen.offset;

/**
 * Cuts a byte stream into PDUs. Any split of the stream gives the same calls to the sink (`pduPlace` aside). Keeps at
 * most one header; payload that arrives in pieces goes straight to its destination. Nothing is allocated per PDU.
 */
export class Framer {
  /** Header and data digests as agreed by ICReq and ICResp. */
  hdgst = false;
  ddgst = false;
  /** Set by the sink in `pduPlace`. */
  placeMemory: Memory | null = null;
  placeOffset = 0;
  /** Payload bytes of the PDU whose header was delivered last. */
  dataLength = 0;
  readonly limits: FramerLimits;
  readonly #sink: PduSink;
  readonly #accepted: Uint8Array;
  readonly #stash = Memory.alloc(COMMON_HEADER_SIZE + 128 + DIGEST_SIZE);
  #have = 0;
  #phase: number = Phase.Header;
  #type = 0;
  #headerSize = 0;
  #pad = 0;
  #got = 0;
  #digested = false;

  constructor(role: FramerRole, sink: PduSink, limits: FramerLimits) {
    this.#sink = sink;
    this.limits = limits;
    this.#accepted = role === 'controller' ? TO_CONTROLLER : TO_HOST;
  }

  /** False once the stream cannot be understood any further. */
  get alive(): boolean {
    return this.#phase !== Phase.Dead;
  }

  /** True between PDUs. */
  get idle(): boolean {
    return this.#phase === Phase.Header && this.#have === 0;
  }

  /** Stops; the sink gets `pduFatal` with the offending header. To be called by the sink or by the framer. */
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

  /** Bytes that may be received straight into `placeMemory` at `placeOffset + directOffset`; 0 when there is none. */
  get directLength(): number {
    return this.#phase === Phase.Payload && this.#got > 0 && this.placeMemory !== null
      ? this.dataLength - this.#got
      : 0;
  }

  get directOffset(): number {
    return this.placeOffset + this.#got;
  }

  /** `length` bytes have been received where `directLength` and `directOffset` said. */
  directReceived(length: number): void {
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
            if (!this.#checkCommonHeader(memory.view, p)) return;
            if (end - p >= this.#headerSize) {
              const base = p;
              p += this.#headerSize;
              this.#header(memory.view, base, memory);
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
      if (this.#have < COMMON_HEADER_SIZE || !this.#checkCommonHeader(stash.view, 0)) return p;
    }
    const n = Math.min(this.#headerSize - this.#have, end - p);
    copyBytes(memory, p, stash, this.#have, n);
    this.#have += n;
    p += n;
    if (this.#have === this.#headerSize) {
      this.#have = 0;
      this.#header(stash.view, 0, stash);
    }
    return p;
  }

  /** Sets sizes from the first eight bytes; false when they are wrong, which has been told. */
  #checkCommonHeader(view: DataView, base: number): boolean {
    const type = view.getUint8(base);
    const hlen = HLEN[type]!;
    if (hlen === 0) return this.#refuse(Fes.InvalidPduHeaderField, 0, view, base);
    if (this.#accepted[type] === 0) return this.#refuse(Fes.PduSequenceError, 0, view, base);
    if (view.getUint8(base + HLEN_OFFSET) !== hlen)
      return this.#refuse(Fes.InvalidPduHeaderField, HLEN_OFFSET, view, base);
    const flags = view.getUint8(base + FLAGS_OFFSET);
    const bare = BARE[type] === 1;
    const hdgst = !bare && this.hdgst;
    if (((flags & PduFlag.HDGSTF) !== 0) !== hdgst)
      return this.#refuse(Fes.InvalidPduHeaderField, FLAGS_OFFSET, view, base);
    const headerSize = hdgst ? hlen + DIGEST_SIZE : hlen;
    const plen = view.getUint32(base + PLEN_OFFSET, true);
    const pdo = view.getUint8(base + PDO_OFFSET);
    let dataLength = 0;
    let digested = false;
    this.#pad = 0;
    if (type === PduType.H2CTermReq || type === PduType.C2HTermReq) {
      if (plen < headerSize || plen > TERM_PLEN_MAX)
        return this.#refuse(Fes.InvalidPduHeaderField, PLEN_OFFSET, view, base);
      dataLength = plen - headerSize;
    } else if (type === PduType.CapsuleCmd || type === PduType.H2CData || type === PduType.C2HData) {
      if (plen === headerSize && type === PduType.CapsuleCmd) {
        // no in-capsule data; pdo is then not used
      } else {
        if (plen < headerSize) return this.#refuse(Fes.InvalidPduHeaderField, PLEN_OFFSET, view, base);
        if (pdo < headerSize || (pdo & 3) !== 0) return this.#refuse(Fes.InvalidPduHeaderField, PDO_OFFSET, view, base);
        digested = this.ddgst;
        if (((flags & PduFlag.DDGSTF) !== 0) !== digested)
          return this.#refuse(Fes.InvalidPduHeaderField, FLAGS_OFFSET, view, base);
        const most = type === PduType.CapsuleCmd ? this.limits.maxInCapsule : this.limits.maxData;
        dataLength = plen - pdo - (digested ? DIGEST_SIZE : 0);
        if (dataLength <= 0) return this.#refuse(Fes.InvalidPduHeaderField, PLEN_OFFSET, view, base);
        if (dataLength > most) {
          const fes = type === PduType.CapsuleCmd ? Fes.InvalidPduHeaderField : Fes.DataTransferLimitExceeded;
          return this.#refuse(fes, PLEN_OFFSET, view, base);
        }
        this.#pad = pdo - headerSize;
      }
    } else if (plen !== headerSize) {
      return this.#refuse(Fes.InvalidPduHeaderField, PLEN_OFFSET, view, base);
    }
    this.#type = type;
    this.#headerSize = headerSize;
    this.#digested = digested;
    this.dataLength = dataLength;
    return true;
  }

  #refuse(fes: number, fei: number, view: DataView, base: number): false {
    this.fail(fes, fei, view, base, COMMON_HEADER_SIZE);
    return false;
  }

  #header(view: DataView, base: number, memory: Memory): void {
    if (this.hdgst && BARE[this.#type] === 0) {
      const hlen = this.#headerSize - DIGEST_SIZE;
      if (view.getUint32(base + hlen, true) !== crc32c(memory, base, hlen)) {
        this.fail(Fes.HeaderDigestError, view.getUint32(base + hlen, true), view, base, hlen);
        return;
      }
    }
    this.#got = 0;
    this.placeMemory = null;
    this.#phase = this.dataLength === 0 ? Phase.Header : this.#pad > 0 ? Phase.Pad : Phase.Payload;
    const type = this.#type;
    this.#sink.pduHeader(type, view, base);
    if (this.dataLength === 0 && this.#phase !== Phase.Dead) this.#sink.pduEnd(type, memory, 0, 0, true);
  }

  #payload(memory: Memory, p: number, end: number): number {
    const length = this.dataLength;
    const here = end - p;
    if (this.#got === 0) {
      const whole = this.#digested ? length + DIGEST_SIZE : length;
      if (here >= whole) {
        const digestOk = !this.#digested || crc32c(memory, p, length) === memory.view.getUint32(p + length, true);
        this.#phase = Phase.Header;
        this.#sink.pduEnd(this.#type, memory, p, length, digestOk);
        return p + whole;
      }
      this.#sink.pduPlace(length);
      if (this.#phase !== Phase.Payload) return p;
    }
    const n = Math.min(length - this.#got, here);
    if (this.placeMemory !== null) copyBytes(memory, p, this.placeMemory, this.placeOffset + this.#got, n);
    this.#got += n;
    if (this.#got === length) this.#payloadDone();
    return p + n;
  }

  #payloadDone(): void {
    if (this.#digested) this.#phase = Phase.Digest;
    else this.#finish(0);
  }

  #finish(digest: number): void {
    const memory = this.placeMemory;
    this.#phase = Phase.Header;
    if (memory === null) {
      this.#sink.pduEnd(this.#type, this.#stash, 0, 0, true);
      return;
    }
    const digestOk = !this.#digested || crc32c(memory, this.placeOffset, this.dataLength) === digest;
    this.#sink.pduEnd(this.#type, memory, this.placeOffset, this.dataLength, digestOk);
  }
}
