/*
 * PDUs as a host writes them, byte for byte: for tests that must be able to say anything, also what no host would say.
 */
import { crc32c, Memory } from '@nvbraid/base';
import {
  CNTLID_DYNAMIC,
  CommonHeader,
  ConnectData,
  ConnectSqe,
  H2CData,
  ICReq,
  PDU_HEADER_SIZES,
  PduFlag,
  PduType,
  PropertySqe,
  RwSqe,
  SglId,
  Sqe,
  TermReq,
} from '@nvbraid/wire';

/** What both sides have agreed by ICReq and ICResp. */
export interface Agreed {
  hdgst: boolean;
  ddgst: boolean;
  /** Alignment of payload in bytes, from CPDA. */
  align?: number;
}

const DIGEST = 4;

export const icReq = (values: Partial<ICReq> = {}): Uint8Array =>
  ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128, ...values });

/** Puts header and payload together: flags, sizes, padding and digests. `header` brings type and specific fields. */
export function assemble(agreed: Agreed, header: Uint8Array, data?: Uint8Array, flags = 0): Uint8Array {
  const hlen = header.length;
  const align = agreed.align ?? 4;
  const headerSize = hlen + (agreed.hdgst ? DIGEST : 0);
  const pdo = data === undefined ? 0 : Math.ceil(headerSize / align) * align;
  const digested = agreed.ddgst && data !== undefined;
  const plen = data === undefined ? headerSize : pdo + data.length + (digested ? DIGEST : 0);
  const pdu = new Uint8Array(plen);
  pdu.set(header);
  if (data !== undefined) pdu.set(data, pdo);
  const view = new DataView(pdu.buffer);
  CommonHeader.emit(view, 0, {
    pduType: header[0]!,
    flags: flags | (agreed.hdgst ? PduFlag.HDGSTF : 0) | (digested ? PduFlag.DDGSTF : 0),
    ...{ hlen, pdo, plen },
  });
  seal(pdu, agreed);
  return pdu;
}

/** Computes the digests of a PDU anew, as far as its sizes allow. */
export function seal(pdu: Uint8Array, agreed: Agreed): void {
  const type = pdu[0]!;
  if (type <= PduType.C2HTermReq || pdu.length < 8) return;
  const memory = Memory.over(pdu);
  const hlen = PDU_HEADER_SIZES[type] ?? pdu[2]!;
  if (agreed.hdgst && pdu.length >= hlen + DIGEST) memory.view.setUint32(hlen, crc32c(memory, 0, hlen), true);
  const pdo = pdu[3]!;
  const end = pdu.length - DIGEST;
  if (agreed.ddgst && pdo >= hlen && end > pdo) memory.view.setUint32(end, crc32c(memory, pdo, end - pdo), true);
}

/** A command capsule; with `data` the SGL descriptor of the SQE is expected to speak of data in the capsule. */
export function capsule(agreed: Agreed, sqe: Uint8Array, data?: Uint8Array): Uint8Array {
  const header = new Uint8Array(72);
  header[0] = PduType.CapsuleCmd;
  header.set(sqe, 8);
  return assemble(agreed, header, data);
}

export function h2cData(
  agreed: Agreed,
  values: { cccid: number; ttag: number; datao: number },
  data: Uint8Array,
  last = true,
): Uint8Array {
  const header = H2CData.toBytes({ pduType: PduType.H2CData, ...values, datal: data.length });
  return assemble(agreed, header, data, last ? PduFlag.LAST_PDU : 0);
}

export function termReq(fes: number, fei = 0): Uint8Array {
  return TermReq.toBytes({ pduType: PduType.H2CTermReq, hlen: TermReq.size, plen: TermReq.size, fes, fei });
}

export interface ConnectValues {
  subnqn: string;
  qid?: number;
  cntlid?: number;
  /** Not 0's based. */
  sqSize?: number;
  cattr?: number;
  kato?: number;
  hostnqn?: string;
}

const HOSTID = '8a5c1f7e-30ad-4f7b-9b8e-6a2f4b0f8e11';
export const HOSTNQN = `nqn.2014-08.org.nvmexpress:uuid:${HOSTID}`;

export function connectCapsule(agreed: Agreed, cid: number, values: ConnectValues): Uint8Array {
  const sqe = ConnectSqe.toBytes({
    ...{ cid, qid: values.qid ?? 0, sqsize: (values.sqSize ?? 32) - 1, cattr: values.cattr ?? 0 },
    ...{ kato: values.kato ?? 0, sglLength: ConnectData.size, sglId: SglId.inCapsule },
  });
  const data = ConnectData.toBytes({
    ...{ hostid: HOSTID, cntlid: values.cntlid ?? CNTLID_DYNAMIC },
    ...{ subnqn: values.subnqn, hostnqn: values.hostnqn ?? HOSTNQN },
  });
  return capsule(agreed, sqe, data);
}

/** Where the cntlid stands in the PDU that `connectCapsule` makes. */
export const connectCntlidOffset = (pdu: Uint8Array): number => pdu[3]! + ConnectData.cntlid.offset;

export const propertyGet = (agreed: Agreed, cid: number, ofst: number, wide = false): Uint8Array =>
  capsule(agreed, PropertySqe.toBytes({ cid, psdt: 1, fctype: 4, attrib: wide ? 1 : 0, ofst }));

export const propertySet = (agreed: Agreed, cid: number, ofst: number, value: bigint): Uint8Array =>
  capsule(agreed, PropertySqe.toBytes({ cid, psdt: 1, fctype: 0, ofst, value }));

/** A command whose data, if any, moves by data PDUs. `length`: what the SGL descriptor names. */
export function command(agreed: Agreed, cid: number, opc: number, length: number, more: Partial<Sqe> = {}): Uint8Array {
  const sgl =
    length === 0 ? {} : { sglLength: length, sglType: SglId.transport >> 4, sglSubtype: SglId.transport & 15 };
  return capsule(agreed, Sqe.toBytes({ cid, opc, psdt: 1, nsid: 1, ...sgl, ...more }));
}

/** Read, Write, Write Zeroes. With `data` it travels in the capsule. */
export function rw(
  agreed: Agreed,
  cid: number,
  opc: number,
  values: { slba: number; nlb: number; length?: number; fua?: boolean },
  data?: Uint8Array,
): Uint8Array {
  const length = data?.length ?? values.length ?? 0;
  const sglId = data !== undefined ? SglId.inCapsule : length > 0 ? SglId.transport : 0;
  const sqe = RwSqe.toBytes({
    ...{ cid, opc, psdt: 1, nsid: 1, sglLength: length, sglId },
    ...{ slba: values.slba, nlb: values.nlb - 1, fua: values.fua ? 1 : 0 },
  });
  return capsule(agreed, sqe, data);
}
