import { CAPSULE_CMD_SQE, CAPSULE_RESP_CQE, PduType } from './pdu.ts';

/*
 * The PDU headers and entries of the hot path, written word by word: the same bytes that `layout.emit` would write (a test holds
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

/**
 * A command capsule: the 64 bytes of `sqe` with identifier and SGL descriptor filled in.
 * @param sqe the entry begins at its first byte; @param sglId see `SglId`
 */
export function emitCapsuleCmd(
  view: DataView,
  base: number,
  flags: number,
  pdo: number,
  plen: number,
  sqe: DataView,
  cid: number,
  sglLength: number,
  sglId: number,
): void {
  common(view, base, PduType.CapsuleCmd, flags, 72, pdo, plen);
  const to = base + CAPSULE_CMD_SQE;
  // PSDT says: an SGL.
  view.setUint32(to, ((sqe.getUint32(0, true) & 0x3fff) | 0x4000 | (cid << 16)) >>> 0, true);
  view.setUint32(to + 4, sqe.getUint32(4, true), true);
  view.setUint32(to + 8, sqe.getUint32(8, true), true);
  view.setUint32(to + 12, sqe.getUint32(12, true), true);
  view.setUint32(to + 16, sqe.getUint32(16, true), true);
  view.setUint32(to + 20, sqe.getUint32(20, true), true);
  view.setUint32(to + 24, 0, true);
  view.setUint32(to + 28, 0, true);
  view.setUint32(to + 32, sglLength, true);
  view.setUint32(to + 36, (sglId << 24) >>> 0, true);
  view.setUint32(to + 40, sqe.getUint32(40, true), true);
  view.setUint32(to + 44, sqe.getUint32(44, true), true);
  view.setUint32(to + 48, sqe.getUint32(48, true), true);
  view.setUint32(to + 52, sqe.getUint32(52, true), true);
  view.setUint32(to + 56, sqe.getUint32(56, true), true);
  view.setUint32(to + 60, sqe.getUint32(60, true), true);
}

/**
 * The entry of a command that names a range of blocks: see `RwSqe`. Everything else in it is 0.
 * @param nlb 0's based; @param fua 0 or 1
 */
export function emitRwSqe(view: DataView, opc: number, nsid: number, slba: number, nlb: number, fua: number): void {
  view.setUint32(0, opc, true);
  view.setUint32(4, nsid, true);
  view.setUint32(8, 0, true);
  view.setUint32(12, 0, true);
  view.setUint32(16, 0, true);
  view.setUint32(20, 0, true);
  view.setUint32(24, 0, true);
  view.setUint32(28, 0, true);
  view.setUint32(32, 0, true);
  view.setUint32(36, 0, true);
  view.setUint32(40, slba >>> 0, true);
  view.setUint32(44, Math.floor(slba / 0x100000000), true);
  view.setUint32(48, ((nlb & 0xffff) | (fua << 30)) >>> 0, true);
  view.setUint32(52, 0, true);
  view.setUint32(56, 0, true);
  view.setUint32(60, 0, true);
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
