import { crc32c, Memory, type Outbox } from '@nvbraid/base';
import {
  DIGEST_SIZE,
  emitC2HData,
  emitCapsuleResp,
  emitR2T,
  ICResp,
  PduFlag,
  PduType,
  TERM_DATA_MAX,
  TermReq,
} from '@nvbraid/wire';

const HEADER_BYTES = 24;
export const NO_HEADER = Memory.alloc(0);
/** SQHD of a Connect response that grants disabled SQ flow control (Base 2.1, 6.3). */
export const NO_SQ_FLOW_CONTROL = 0xffff;

/** Writes a controller's PDUs into an outbox, with the digests and the alignment agreed for the connection. */
export class PduWriter {
  /** Arena bytes of one R2T at most. */
  static readonly R2T_BYTES = HEADER_BYTES + DIGEST_SIZE;
  hdgst = false;
  ddgst = false;
  /** Alignment of C2HData payload as the host wants it: dwords minus one (HPDA). */
  hpda = 0;

  icResp(out: Outbox, cpda: number, maxh2cdata: number): void {
    ICResp.emit(out.arena.view, out.reserve(ICResp.size), {
      pduType: PduType.ICResp,
      hlen: ICResp.size,
      plen: ICResp.size,
      cpda,
      hdgst: this.hdgst ? 1 : 0,
      ddgst: this.ddgst ? 1 : 0,
      maxh2cdata,
    });
  }

  r2t(out: Outbox, cid: number, ttag: number, offset: number, length: number): void {
    const size = this.hdgst ? HEADER_BYTES + DIGEST_SIZE : HEADER_BYTES;
    const at = out.reserve(size);
    emitR2T(out.arena.view, at, this.hdgst ? PduFlag.HDGSTF : 0, size, cid, ttag, offset, length);
    if (this.hdgst) headerDigest(out, at);
  }

  capsuleResp(out: Outbox, dw0: number, dw1: number, sqhd: number, cid: number, status: number): void {
    const size = this.hdgst ? HEADER_BYTES + DIGEST_SIZE : HEADER_BYTES;
    const at = out.reserve(size);
    emitCapsuleResp(out.arena.view, at, this.hdgst ? PduFlag.HDGSTF : 0, size, dw0, dw1, sqhd, cid, status);
    if (this.hdgst) headerDigest(out, at);
  }

  /** The whole data of a command as one PDU; the payload is referenced where it lies. */
  c2hData(out: Outbox, flags: number, cid: number, memory: Memory, offset: number, length: number): void {
    const { hdgst, ddgst, hpda } = this;
    const header = hdgst ? HEADER_BYTES + DIGEST_SIZE : HEADER_BYTES;
    const align = (hpda + 1) * 4;
    const pdo = hpda === 0 ? header : Math.ceil(header / align) * align;
    const plen = pdo + length + (ddgst ? DIGEST_SIZE : 0);
    const at = out.reserve(pdo);
    const all = flags | (hdgst ? PduFlag.HDGSTF : 0) | (ddgst ? PduFlag.DDGSTF : 0);
    emitC2HData(out.arena.view, at, all, pdo, plen, cid, 0, length);
    if (hdgst) headerDigest(out, at);
    for (let i = at + header; i < at + pdo; i++) out.arena.bytes[i] = 0;
    out.append(memory, offset, length);
    if (ddgst) out.arena.view.setUint32(out.reserve(DIGEST_SIZE), crc32c(memory, offset, length), true);
  }
}

/** C2HTermReq with the header that it complains about (NVMe-TCP 3.6.2.4). */
export function c2hTermReq(fes: number, fei: number, header: Memory, length: number): Uint8Array {
  const data = Math.min(length, TERM_DATA_MAX);
  const pdu = new Uint8Array(TermReq.size + data);
  const plen = pdu.length;
  const view = new DataView(pdu.buffer);
  TermReq.emit(view, 0, { pduType: PduType.C2HTermReq, hlen: TermReq.size, plen, fes, fei });
  pdu.set(header.bytes.subarray(0, data), TermReq.size);
  return pdu;
}

function headerDigest(out: Outbox, at: number): void {
  out.arena.view.setUint32(at + HEADER_BYTES, crc32c(out.arena, at, HEADER_BYTES), true);
}
