import { crc32c, type Memory, type Outbox } from '@nvbraid/base';
import {
  CapsuleCmd,
  DIGEST_SIZE,
  emitCapsuleCmd,
  emitH2CData,
  H2CData,
  ICReq,
  PduFlag,
  PduType,
  SglId,
  TERM_DATA_MAX,
  TermReq,
} from '@nvbraid/wire';
import { COPY_PAYLOAD_BYTES, HEADER_BYTES_MAX, TRANSMIT_BYTES } from './limits.ts';

/*
 * The PDUs that a host sends, written into an outbox: header, header digest, padding up to pdo, payload, data digest.
 */

/** What the handshake has settled about the form of PDUs. */
export interface PduForm {
  hdgst: boolean;
  ddgst: boolean;
  /** Alignment of payload in bytes, from CPDA. */
  align: number;
}

export function writeICReq(out: Outbox, hpda: number, form: PduForm, maxR2t: number): void {
  ICReq.emit(out.arena.view, out.reserve(ICReq.size), {
    pduType: PduType.ICReq,
    hlen: ICReq.size,
    plen: ICReq.size,
    hpda,
    hdgst: form.hdgst ? 1 : 0,
    ddgst: form.ddgst ? 1 : 0,
    maxr2t: maxR2t - 1,
  });
}

/** H2CTermReq (NVMe-TCP 3.6.2.3): says what was wrong and shows the header it was found in. */
export function makeTermReq(fes: number, fei: number, header: Memory, length: number): Uint8Array {
  const shown = Math.min(length, TERM_DATA_MAX);
  const pdu = new Uint8Array(TermReq.size + shown);
  TermReq.emit(new DataView(pdu.buffer), 0, {
    pduType: PduType.H2CTermReq,
    hlen: TermReq.size,
    plen: pdu.length,
    fes,
    fei,
  });
  pdu.set(header.bytes.subarray(0, shown), TermReq.size);
  return pdu;
}

/**
 * A command capsule around the 64 bytes of `sqe`.
 * @param dataLength what the SGL descriptor names; 0 writes an empty descriptor
 * @param inCapsule true when the data follows in the capsule
 */
export function writeCapsule(
  out: Outbox,
  form: PduForm,
  sqe: Memory,
  cid: number,
  memory: Memory,
  offset: number,
  dataLength: number,
  inCapsule: boolean,
): void {
  const hlen = CapsuleCmd.size;
  const header = form.hdgst ? hlen + DIGEST_SIZE : hlen;
  const carries = inCapsule && dataLength > 0;
  const pdo = carries ? aligned(header, form.align) : 0;
  const plen = carries ? pdo + dataLength + (form.ddgst ? DIGEST_SIZE : 0) : header;
  const at = out.reserve(carries ? pdo : header);
  const sglId = inCapsule ? SglId.inCapsule : SglId.transport;
  emitCapsuleCmd(out.arena.view, at, flags(form, carries), pdo, plen, sqe.view, cid, dataLength, sglId);
  finishHeader(out, form, at, hlen, carries ? pdo : header);
  if (carries) writePayload(out, form, memory, offset, dataLength);
}

export function writeH2CData(
  out: Outbox,
  form: PduForm,
  cid: number,
  ttag: number,
  memory: Memory,
  offset: number,
  dataOffset: number,
  dataLength: number,
  last: boolean,
): void {
  const hlen = H2CData.size;
  const pdo = aligned(form.hdgst ? hlen + DIGEST_SIZE : hlen, form.align);
  const plen = pdo + dataLength + (form.ddgst ? DIGEST_SIZE : 0);
  const at = out.reserve(pdo);
  const bits = last ? flags(form, true) | PduFlag.LAST_PDU : flags(form, true);
  emitH2CData(out.arena.view, at, bits, pdo, plen, cid, ttag, dataOffset, dataLength);
  finishHeader(out, form, at, hlen, pdo);
  writePayload(out, form, memory, offset, dataLength);
}

function flags(form: PduForm, carries: boolean): number {
  return (form.hdgst ? PduFlag.HDGSTF : 0) | (form.ddgst && carries ? PduFlag.DDGSTF : 0);
}

function aligned(length: number, align: number): number {
  return align <= 4 ? length : Math.ceil(length / align) * align;
}

function finishHeader(out: Outbox, form: PduForm, at: number, hlen: number, end: number): void {
  let p = at + hlen;
  if (form.hdgst) {
    out.arena.view.setUint32(p, crc32c(out.arena, at, hlen), true);
    p += DIGEST_SIZE;
  }
  if (p < at + end) out.arena.bytes.fill(0, p, at + end);
}

function writePayload(out: Outbox, form: PduForm, memory: Memory, offset: number, length: number): void {
  let from = memory;
  let at = offset;
  if (length <= COPY_PAYLOAD_BYTES) {
    at = out.reserve(length);
    for (let i = 0; i < length; i++) out.arena.bytes[at + i] = memory.bytes[offset + i]!;
    from = out.arena;
  } else {
    out.append(memory, offset, length);
  }
  if (form.ddgst) {
    const digest = crc32c(from, at, length);
    out.arena.view.setUint32(out.reserve(DIGEST_SIZE), digest, true);
  }
}

/** True when one more PDU fits, and one `transmit` should write it. */
export function hasRoom(out: Outbox): boolean {
  return out.bytes < TRANSMIT_BYTES && out.room(4, HEADER_BYTES_MAX + COPY_PAYLOAD_BYTES);
}
