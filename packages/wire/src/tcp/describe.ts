import { Memory } from '@nvbraid/base';
import { CONNECT_DATA_SIZE, ConnectData, ConnectSqe } from '../fabrics/commands.ts';
import { describeCqe } from '../nvme/describe-cqe.ts';
import { describeSqe, type QueueKind } from '../nvme/describe-sqe.ts';
import { FabricsType, IoOpcode } from '../nvme/opcodes.ts';
import {
  C2HData,
  CAPSULE_CMD_SQE,
  CAPSULE_RESP_CQE,
  COMMON_HEADER_SIZE,
  CommonHeader,
  DIGEST_SIZE,
  H2CData,
  ICReq,
  ICResp,
  PDU_HEADER_SIZES,
  PDU_TYPE_NAMES,
  PduFlag,
  PduType,
  R2T,
  TermReq,
} from './pdu.ts';

/** What a PDU does not say about itself. */
export interface DescribeOptions {
  /** The queue it travels on, for opcodes; default `io`. */
  readonly queue?: QueueKind;
  /** The command that a response answers was a fabrics command; default false. */
  readonly fabrics?: boolean;
}

/**
 * One line for humans about the PDU of `length` bytes at `offset`, which may be cut short, damaged or no PDU at all:
 *
 *   CapsuleCmd cid=5 Read nsid=1 slba=8 nlb=8 (in-capsule 0)
 *   CapsuleResp cid=5 Successful Completion sqhd=6
 *   C2HTermReq fes=Header Digest Error fei=0x12345678 (about CapsuleCmd, 72 bytes)
 *
 * Does not say whether digests are right. Never throws.
 */
export function describePdu(
  source: Memory | Uint8Array,
  offset = 0,
  length = source.length - offset,
  options: DescribeOptions = {},
): string {
  const from = Math.min(Math.max(0, offset), source.length);
  const size = Math.min(Math.max(0, length), source.length - from);
  const bytes = source instanceof Memory ? source.bytes : source;
  const view = new DataView(bytes.buffer, bytes.byteOffset + from, size);
  if (size === 0) return 'nothing';
  const type = view.getUint8(0);
  const headerSize = PDU_HEADER_SIZES[type];
  if (headerSize === undefined) return `unknown PDU type ${hex(type)} (${size} bytes)`;
  const name = PDU_TYPE_NAMES[type];
  if (size < COMMON_HEADER_SIZE) return `${name} cut short (${size} of ${headerSize} bytes)`;
  const plen = CommonHeader.plen.get(view, 0);
  const remarks = oddities(type, view, headerSize);
  if (size < headerSize) return [name, `cut short (${size} of ${plen} bytes)`, ...remarks].join(' ');
  const parts = [name, ...describeBody(type as PduType, view, options), ...flags(type, view), ...remarks];
  if (size < plen) parts.push(`cut short (${size} of ${plen} bytes)`);
  return parts.filter((part) => part !== '').join(' ');
}

function describeBody(type: PduType, view: DataView, options: DescribeOptions): string[] {
  switch (type) {
    case PduType.ICReq:
      return numbers(view, ICReq, ['pfv', 'hpda', 'hdgst', 'ddgst', 'maxr2t']);
    case PduType.ICResp:
      return numbers(view, ICResp, ['pfv', 'cpda', 'hdgst', 'ddgst', 'maxh2cdata']);
    case PduType.H2CTermReq:
    case PduType.C2HTermReq:
      return describeTermReq(type, view);
    case PduType.CapsuleCmd:
      return describeCapsuleCmd(view, options.queue ?? 'io');
    case PduType.CapsuleResp:
      return [describeCqe(view, CAPSULE_RESP_CQE, options.fabrics ?? false)];
    case PduType.H2CData:
      return numbers(view, H2CData, ['cccid', 'ttag', 'datao', 'datal']);
    case PduType.C2HData:
      return numbers(view, C2HData, ['cccid', 'datao', 'datal']);
    case PduType.R2T:
      return numbers(view, R2T, ['cccid', 'ttag', 'r2to', 'r2tl']);
  }
}

/** `key=value` of number fields, zeroes included. */
function numbers<K extends string>(
  view: DataView,
  layout: Readonly<Record<K, { get(view: DataView, base: number): number }>>,
  keys: readonly K[],
): string[] {
  return keys.map((key) => `${key}=${layout[key].get(view, 0)}`);
}

function describeTermReq(type: PduType, view: DataView): string[] {
  const fes = TermReq.fes.get(view, 0);
  // The same number in the host's mouth (NVMe-TCP 3.6.2.3).
  const name = fes === 5 && type === PduType.H2CTermReq ? 'R2T Limit Exceeded' : TermReq.fes.format(fes);
  const data = view.byteLength - TermReq.size;
  const about = data > 0 ? (PDU_TYPE_NAMES[view.getUint8(TermReq.size)] ?? 'unknown PDU type') : '';
  return [
    `fes=${name}`,
    `fei=${TermReq.fei.format(TermReq.fei.get(view, 0))}`,
    data > 0 ? `(about ${about}, ${data} bytes)` : '',
  ];
}

function describeCapsuleCmd(view: DataView, queue: QueueKind): string[] {
  const start = CommonHeader.pdo.get(view, 0);
  const digest = (CommonHeader.flags.get(view, 0) & PduFlag.DDGSTF) !== 0 ? DIGEST_SIZE : 0;
  const data = start === 0 ? 0 : Math.max(0, CommonHeader.plen.get(view, 0) - start - digest);
  const parts = [describeSqe(view, CAPSULE_CMD_SQE, queue), `(in-capsule ${data})`];
  const connect =
    ConnectSqe.opc.get(view, CAPSULE_CMD_SQE) === IoOpcode.Fabrics &&
    ConnectSqe.fctype.get(view, CAPSULE_CMD_SQE) === FabricsType.Connect;
  if (connect && data >= CONNECT_DATA_SIZE && start + CONNECT_DATA_SIZE <= view.byteLength)
    parts.push(ConnectData.describe(view, start));
  return parts;
}

/** The flags that mean something for the type, by name. */
function flags(type: number, view: DataView): string[] {
  const value = CommonHeader.flags.get(view, 0);
  const names: string[] = [];
  if (type <= PduType.C2HTermReq) return names;
  if ((value & PduFlag.HDGSTF) !== 0) names.push('HDGST');
  if ((value & PduFlag.DDGSTF) !== 0) names.push('DDGST');
  if (type !== PduType.H2CData && type !== PduType.C2HData) return names;
  if ((value & PduFlag.LAST_PDU) !== 0) names.push('LAST_PDU');
  if (type === PduType.C2HData && (value & PduFlag.SUCCESS) !== 0) names.push('SUCCESS');
  return names;
}

/** What is wrong with the common header at first sight. */
function oddities(type: number, view: DataView, headerSize: number): string[] {
  const remarks: string[] = [];
  const { hlen, pdo, plen, flags: value } = CommonHeader.parse(view, 0);
  if (hlen !== headerSize) remarks.push(`[hlen ${hlen}, not ${headerSize}]`);
  const digested = type > PduType.C2HTermReq && (value & PduFlag.HDGSTF) !== 0;
  const least = digested ? headerSize + DIGEST_SIZE : headerSize;
  if (plen < least) remarks.push(`[plen ${plen}, less than the header]`);
  else if (pdo > plen) remarks.push(`[pdo ${pdo}, beyond plen ${plen}]`);
  return remarks;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
