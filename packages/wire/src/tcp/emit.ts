import { CAPSULE_RESP_CQE, PduType } from './pdu.ts';

/*
 * The PDU headers of the hot path, written word by word: the same bytes that `layout.emit` would write (a test holds
 * them together), in a few stores. `pdo` is 0 for PDUs without data; digests are the caller's.
 */

function common(
  view: DataView,
  base: number,
  type: number,
  flags: number,
  hlen: number,
  pdo: number,
  plen: number,
): void {
  view.setUint32(base, (type | (flags << 8) | (hlen << 16) | (pdo << 24)) >>> 0, true);
  view.setUint32(base + 4, plen, true);
}

/** @param dataLength payload bytes of this PDU; @param dataOffset their place in the command's data */
export function emitC2HData(
  view: DataView,
  base: number,
  flags: number,
  pdo: number,
  plen: number,
  cid: number,
  dataOffset: number,
  dataLength: number,
): void {
  common(view, base, PduType.C2HData, flags, 24, pdo, plen);
  view.setUint32(base + 8, cid, true);
  view.setUint32(base + 12, dataOffset, true);
  view.setUint32(base + 16, dataLength, true);
  view.setUint32(base + 20, 0, true);
}

export function emitH2CData(
  view: DataView,
  base: number,
  flags: number,
  pdo: number,
  plen: number,
  cid: number,
  ttag: number,
  dataOffset: number,
  dataLength: number,
): void {
  common(view, base, PduType.H2CData, flags, 24, pdo, plen);
  view.setUint32(base + 8, (cid | (ttag << 16)) >>> 0, true);
  view.setUint32(base + 12, dataOffset, true);
  view.setUint32(base + 16, dataLength, true);
  view.setUint32(base + 20, 0, true);
}

export function emitR2T(
  view: DataView,
  base: number,
  flags: number,
  plen: number,
  cid: number,
  ttag: number,
  offset: number,
  length: number,
): void {
  common(view, base, PduType.R2T, flags, 24, 0, plen);
  view.setUint32(base + 8, (cid | (ttag << 16)) >>> 0, true);
  view.setUint32(base + 12, offset, true);
  view.setUint32(base + 16, length, true);
  view.setUint32(base + 20, 0, true);
}

/** @param status the status word without phase bit, see `Status` */
export function emitCapsuleResp(
  view: DataView,
  base: number,
  flags: number,
  plen: number,
  dw0: number,
  dw1: number,
  sqhd: number,
  cid: number,
  status: number,
): void {
  common(view, base, PduType.CapsuleResp, flags, 24, 0, plen);
  const cqe = base + CAPSULE_RESP_CQE;
  view.setUint32(cqe, dw0, true);
  view.setUint32(cqe + 4, dw1, true);
  view.setUint32(cqe + 8, sqhd, true);
  view.setUint32(cqe + 12, (cid | (status << 17)) >>> 0, true);
}
