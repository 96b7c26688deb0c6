import { bits, bytes, layout, u8, u16, u32, type ValueOf } from '../layout.ts';

/*
 * The PDUs of NVMe/TCP (NVMe-TCP 3.6). Every PDU starts with the common header:
 *
 *   0      1      2      3      4 … 7
 *   type   flags  hlen   pdo    plen
 *
 * hlen: length of the header without digest; pdo: where data starts, 0 without data; plen: everything.
 */
export const PduType = {
  ICReq: 0x00,
  ICResp: 0x01,
  H2CTermReq: 0x02,
  C2HTermReq: 0x03,
  CapsuleCmd: 0x04,
  CapsuleResp: 0x05,
  H2CData: 0x06,
  C2HData: 0x07,
  R2T: 0x09,
} as const;
export type PduType = (typeof PduType)[keyof typeof PduType];

export const PDU_TYPE_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(PduType).map(([name, value]) => [value, name]),
);

/** Header sizes by type, without digest: what hlen must be. */
export const PDU_HEADER_SIZES: Readonly<Record<number, number>> & Readonly<Record<PduType, number>> = {
  [PduType.ICReq]: 128,
  [PduType.ICResp]: 128,
  [PduType.H2CTermReq]: 24,
  [PduType.C2HTermReq]: 24,
  [PduType.CapsuleCmd]: 72,
  [PduType.CapsuleResp]: 24,
  [PduType.H2CData]: 24,
  [PduType.C2HData]: 24,
  [PduType.R2T]: 24,
};

/** Header digest, data digest, last data PDU, and success without a CapsuleResp (flags of the common header). */
export const PduFlag = { HDGSTF: 1, DDGSTF: 2, LAST_PDU: 4, SUCCESS: 8 } as const;

/** Fatal error status of H2CTermReq and C2HTermReq (NVMe-TCP 3.6.2.3, 3.6.2.4). */
export const Fes = {
  InvalidPduHeaderField: 1,
  PduSequenceError: 2,
  HeaderDigestError: 3,
  DataTransferOutOfRange: 4,
  /** R2T limit exceeded when the host sends it about an R2T; data transfer limit exceeded for the controller. */
  DataTransferLimitExceeded: 5,
  UnsupportedParameter: 6,
} as const;
export const FES_NAMES: Readonly<Record<number, string>> = {
  1: 'Invalid PDU Header Field',
  2: 'PDU Sequence Error',
  3: 'Header Digest Error',
  4: 'Data Transfer Out of Range',
  5: 'Data Transfer Limit Exceeded',
  6: 'Unsupported Parameter',
};

const common = {
  pduType: u8(0, { names: PDU_TYPE_NAMES }),
  flags: u8(1, { hex: true }),
  hlen: u8(2),
  pdo: u8(3),
  plen: u32(4),
};

/** Common header: the first eight bytes of every PDU. */
export const CommonHeader = layout('CH', 8, common);
export const COMMON_HEADER_SIZE = 8;
export const DIGEST_SIZE = 4;

/** Initialize Connection Request (NVMe-TCP 3.6.2.1). hpda: dwords - 1 of data alignment wanted by the host. */
export const ICReq = layout('ICReq', 128, {
  ...common,
  pfv: u16(8),
  hpda: u8(10),
  hdgst: bits(11, 0, 1),
  ddgst: bits(11, 1, 1),
  maxr2t: u32(12),
});
export type ICReq = ValueOf<typeof ICReq>;

/** Initialize Connection Response (NVMe-TCP 3.6.2.2). cpda: as hpda, wanted by the controller. */
export const ICResp = layout('ICResp', 128, {
  ...common,
  pfv: u16(8),
  cpda: u8(10),
  hdgst: bits(11, 0, 1),
  ddgst: bits(11, 1, 1),
  maxh2cdata: u32(12),
});
export type ICResp = ValueOf<typeof ICResp>;

/** Both Terminate Connection Requests; up to 128 bytes of the offending PDU's header follow as data. */
export const TermReq = layout('TermReq', 24, {
  ...common,
  fes: u16(8, { names: FES_NAMES }),
  /** Byte offset in the offending header (fes 1 and 6), or the received digest that did not match (3). */
  fei: u32(10, { hex: true }),
});
export type TermReq = ValueOf<typeof TermReq>;

/** Command capsule: the 64-byte SQE follows the common header; in-capsule data at pdo. */
export const CapsuleCmd = layout('CapsuleCmd', 72, { ...common, sqe: bytes(8, 64) });
export const CAPSULE_CMD_SQE = 8;

/** Response capsule: the 16-byte CQE follows the common header. */
export const CapsuleResp = layout('CapsuleResp', 24, { ...common, cqe: bytes(8, 16) });
export const CAPSULE_RESP_CQE = 8;

export const H2CData = layout('H2CData', 24, {
  ...common,
  cccid: u16(8),
  ttag: u16(10),
  datao: u32(12),
  datal: u32(16),
});
export type H2CData = ValueOf<typeof H2CData>;

export const C2HData = layout('C2HData', 24, {
  ...common,
  cccid: u16(8),
  datao: u32(12),
  datal: u32(16),
});
export type C2HData = ValueOf<typeof C2HData>;

export const R2T = layout('R2T', 24, {
  ...common,
  cccid: u16(8),
  ttag: u16(10),
  r2to: u32(12),
  r2tl: u32(16),
});
export type R2T = ValueOf<typeof R2T>;
