import {
  C2HData,
  CapsuleCmd,
  CapsuleResp,
  H2CData,
  ICReq,
  ICResp,
  type LayoutMethods,
  R2T,
  TermReq,
} from '@nvbraid/wire';
import { hex } from './hex.ts';

/*
 * PDUs written down byte by byte from NVMe-TCP 3.6, digests computed by another implementation of CRC32C.
 */
export interface PduVector {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: the layout of any PDU
  readonly layout: LayoutMethods<any>;
  readonly role: 'host' | 'controller';
  readonly hdgst?: boolean;
  readonly ddgst?: boolean;
  readonly header: Uint8Array;
  /** What follows the header: digest, padding, payload, digest. */
  readonly rest?: Uint8Array;
  readonly payload?: Uint8Array;
  readonly values: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly queue?: 'admin' | 'io';
}

const READ_SQE = hex('02 40 05 00  01 00 00 00  00*16  00*8 00 10 00 00 00 00 00 5a  08 00*7  07 00 00 00  00*12');
const DSM_SQE = hex('09 40 09 00  01 00 00 00  00*16  00*8 10 00 00 00 00 00 00 01  00 00 00 00  04 00 00 00  00*16');
const FLUSH_SQE = hex('00 40 07 00  01 00 00 00  00*56');
const CONNECT_SQE = hex(
  '7f 40 00 00  01 00*19  00*8 00 04 00 00 00 00 00 01  00 00  00 00  1f 00  00 00  30 75 00 00  00*12',
);
const DSM_RANGE = hex('00 00 00 00  08 00 00 00  00 10 00 00 00 00 00 00');
const nqn = (text: string): string => Buffer.from(text).toString('hex') + ` 00*${256 - text.length}`;
export const CONNECT_DATA: Uint8Array = hex(
  `01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef  ff ff  00*238
   ${nqn('nqn.2014-08.org.nvmexpress.discovery')}
   ${nqn('nqn.2014-08.org.nvmexpress:uuid:01234567-89ab-cdef-0123-456789abcdef')}  00*256`,
);

export const PDU_VECTORS: readonly PduVector[] = [
  {
    name: 'ICReq',
    layout: ICReq,
    role: 'controller',
    header: hex('00 00 80 00  80 00 00 00  00 00  03  03  0f 00 00 00  00*112'),
    values: { pduType: 0, hlen: 128, plen: 128, hpda: 3, hdgst: 1, ddgst: 1, maxr2t: 15 },
    text: 'ICReq pfv=0 hpda=3 hdgst=1 ddgst=1 maxr2t=15',
  },
  {
    name: 'ICResp',
    layout: ICResp,
    role: 'host',
    header: hex('01 00 80 00  80 00 00 00  00 00  07  02  00 00 02 00  00*112'),
    values: { pduType: 1, hlen: 128, plen: 128, cpda: 7, ddgst: 1, maxh2cdata: 131072 },
    text: 'ICResp pfv=0 cpda=7 hdgst=0 ddgst=1 maxh2cdata=131072',
  },
  {
    name: 'H2CTermReq about a C2HData whose pdo is wrong',
    layout: TermReq,
    role: 'controller',
    header: hex('02 00 18 00  20 00 00 00  01 00  03 00 00 00  00*10'),
    rest: hex('07 00 18 1a  28 00 00 00'),
    payload: hex('07 00 18 1a  28 00 00 00'),
    values: { pduType: 2, hlen: 24, plen: 32, fes: 1, fei: 3 },
    text: 'H2CTermReq fes=Invalid PDU Header Field fei=0x00000003 (about C2HData, 8 bytes)',
  },
  {
    name: 'C2HTermReq about a header digest, without data',
    layout: TermReq,
    role: 'host',
    header: hex('03 00 18 00  18 00 00 00  03 00  78 56 34 12  00*10'),
    values: { pduType: 3, hlen: 24, plen: 24, fes: 3, fei: 0x12345678 },
    text: 'C2HTermReq fes=Header Digest Error fei=0x12345678',
  },
  {
    name: 'CapsuleCmd: Read',
    layout: CapsuleCmd,
    role: 'controller',
    header: hex(`04 00 48 00  48 00 00 00 ${Buffer.from(READ_SQE).toString('hex')}`),
    values: { pduType: 4, hlen: 72, plen: 72, sqe: READ_SQE },
    text: 'CapsuleCmd cid=5 Read nsid=1 slba=8 nlb=8 (in-capsule 0)',
  },
  {
    name: 'CapsuleCmd: Flush, with a header digest',
    layout: CapsuleCmd,
    role: 'controller',
    hdgst: true,
    header: hex(`04 01 48 00  4c 00 00 00 ${Buffer.from(FLUSH_SQE).toString('hex')}`),
    rest: hex('02 45 60 63'),
    values: { pduType: 4, flags: 1, hlen: 72, plen: 76, sqe: FLUSH_SQE },
    text: 'CapsuleCmd cid=7 Flush nsid=1 (in-capsule 0) HDGST',
  },
  {
    name: 'CapsuleCmd: Dataset Management with its range in the capsule and both digests',
    layout: CapsuleCmd,
    role: 'controller',
    hdgst: true,
    ddgst: true,
    header: hex(`04 03 48 4c  60 00 00 00 ${Buffer.from(DSM_SQE).toString('hex')}`),
    rest: hex(`2d d2 d9 c9  ${Buffer.from(DSM_RANGE).toString('hex')}  3d b7 49 50`),
    payload: DSM_RANGE,
    values: { pduType: 4, flags: 3, hlen: 72, pdo: 76, plen: 96, sqe: DSM_SQE },
    text: 'CapsuleCmd cid=9 Dataset Management nsid=1 nr=1 ad=1 (in-capsule 16) HDGST DDGST',
  },
  {
    name: 'CapsuleCmd: Connect with its data',
    layout: CapsuleCmd,
    role: 'controller',
    queue: 'admin',
    header: hex(`04 00 48 48  48 04 00 00 ${Buffer.from(CONNECT_SQE).toString('hex')}`),
    rest: CONNECT_DATA,
    payload: CONNECT_DATA,
    values: { pduType: 4, hlen: 72, pdo: 72, plen: 1096, sqe: CONNECT_SQE },
    text:
      'CapsuleCmd cid=0 Connect qid=0 sqsize=32 kato=30000 (in-capsule 1024) ConnectData ' +
      'hostid=01234567-89ab-cdef-0123-456789abcdef cntlid=0xffff subnqn="nqn.2014-08.org.nvmexpress.discovery" ' +
      'hostnqn="nqn.2014-08.org.nvmexpress:uuid:01234567-89ab-cdef-0123-456789abcdef"',
  },
  {
    name: 'CapsuleResp: success, with a header digest',
    layout: CapsuleResp,
    role: 'host',
    hdgst: true,
    header: hex('05 01 18 00  1c 00 00 00  00 00 00 00  00 00 00 00  03 00  00 00  05 00  00 00'),
    rest: hex('b9 0e 20 f4'),
    values: { pduType: 5, flags: 1, hlen: 24, plen: 28, cqe: hex('00*8 03 00 00 00 05 00 00 00') },
    text: 'CapsuleResp cid=5 Successful Completion sqhd=3 HDGST',
  },
  {
    name: 'CapsuleResp: LBA out of range, do not retry',
    layout: CapsuleResp,
    role: 'host',
    header: hex('05 00 18 00  18 00 00 00  00 00 00 00  00 00 00 00  04 00  00 00  06 00  00 81'),
    values: { pduType: 5, hlen: 24, plen: 24, cqe: hex('00*8 04 00 00 00 06 00 00 81') },
    text: 'CapsuleResp cid=6 LBA Out of Range dnr sqhd=4',
  },
  {
    name: 'H2CData with both digests',
    layout: H2CData,
    role: 'controller',
    hdgst: true,
    ddgst: true,
    header: hex('06 07 18 1c  24 00 00 00  06 00  01 00  00 10 00 00  04 00 00 00  00 00 00 00'),
    rest: hex('6d f2 73 c9  01 02 03 04  f4 8c 30 29'),
    payload: hex('01 02 03 04'),
    values: { pduType: 6, flags: 7, hlen: 24, pdo: 28, plen: 36, cccid: 6, ttag: 1, datao: 4096, datal: 4 },
    text: 'H2CData cccid=6 ttag=1 datao=4096 datal=4 HDGST DDGST LAST_PDU',
  },
  {
    name: 'C2HData: the last, with success, both digests and padding to 32 bytes',
    layout: C2HData,
    role: 'host',
    hdgst: true,
    ddgst: true,
    header: hex('07 0f 18 20  28 00 00 00  05 00  00 00  00 00 00 00  04 00 00 00  00 00 00 00'),
    rest: hex('5c ba 7a 83  00*4  de ad be ef  8e 77 dc f1'),
    payload: hex('de ad be ef'),
    values: { pduType: 7, flags: 15, hlen: 24, pdo: 32, plen: 40, cccid: 5, datao: 0, datal: 4 },
    text: 'C2HData cccid=5 datao=0 datal=4 HDGST DDGST LAST_PDU SUCCESS',
  },
  {
    name: 'R2T with a header digest',
    layout: R2T,
    role: 'host',
    hdgst: true,
    header: hex('09 01 18 00  1c 00 00 00  06 00  01 00  00 10 00 00  00 20 00 00  00 00 00 00'),
    rest: hex('70 e6 fb b8'),
    values: { pduType: 9, flags: 1, hlen: 24, plen: 28, cccid: 6, ttag: 1, r2to: 4096, r2tl: 8192 },
    text: 'R2T cccid=6 ttag=1 r2to=4096 r2tl=8192 HDGST',
  },
];
