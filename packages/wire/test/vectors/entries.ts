import {
  AbortSqe,
  AsyncEventRequestSqe,
  ConnectSqe,
  Cqe,
  CrossControllerResetSqe,
  DsmSqe,
  FeaturesSqe,
  GetLogPageSqe,
  IdentifySqe,
  KeepAliveSqe,
  type LayoutMethods,
  PropertySqe,
  RwSqe,
  Sqe,
  ZoneAppendSqe,
  ZoneManagementReceiveSqe,
  ZoneManagementSendSqe,
} from '@nvbraid/wire';
import { hex } from './hex.ts';

/*
 * Submission and completion queue entries, byte by byte: opcode, fuse and psdt, cid | nsid | cdw2-3 | mptr | SGL
 * descriptor | cdw10-15 (Base 2.1, 4.1.1 and 4.2.1).
 */
export interface EntryVector {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: any view of an entry
  readonly layout: LayoutMethods<any>;
  readonly bytes: Uint8Array;
  readonly values: Readonly<Record<string, unknown>>;
  readonly queue: 'admin' | 'io';
  readonly text: string;
}

const none = '00*16';
const transport = (length: string): string => `00*8 ${length} 00 00 00 5a`;
const inCapsule = (length: string): string => `00*8 ${length} 00 00 00 01`;

export const SQE_VECTORS: readonly EntryVector[] = [
  {
    name: 'Read',
    layout: RwSqe,
    queue: 'io',
    bytes: hex(
      `02 40 34 12  01 00 00 00  00*8 00*8 ${transport('00 20 00 00')}  10 32 54 76 98 00 00 00  0f 00 00 00  00*12`,
    ),
    values: { opc: 2, psdt: 1, cid: 0x1234, nsid: 1, sglLength: 8192, sglId: 0x5a, slba: 0x9876543210, nlb: 15 },
    text: 'cid=4660 Read nsid=1 slba=654820258320 nlb=16',
  },
  {
    name: 'Write with FUA, data in the capsule',
    layout: RwSqe,
    queue: 'io',
    bytes: hex(`01 40 02 00  0a 00 00 00  00*8 00*8 ${inCapsule('00 02 00 00')}  00*8  00 00 00 40  01 00 00 00  00*8`),
    values: { opc: 1, psdt: 1, cid: 2, nsid: 10, sglLength: 512, sglId: 1, fua: 1, dsm: 1 },
    text: 'cid=2 Write nsid=10 slba=0 nlb=1 fua=1 dsm=0x00000001',
  },
  {
    name: 'Write Zeroes that deallocates, limited retry',
    layout: RwSqe,
    queue: 'io',
    bytes: hex(`08 40 03 00  01 00 00 00  00*8 00*8 ${none}  01 00*7  ff ff 00 82  00*12`),
    values: { opc: 8, psdt: 1, cid: 3, nsid: 1, slba: 1, nlb: 0xffff, deac: 1, lr: 1 },
    text: 'cid=3 Write Zeroes nsid=1 slba=1 nlb=65536 deac=1 lr=1',
  },
  {
    name: 'Flush of all namespaces',
    layout: Sqe,
    queue: 'io',
    bytes: hex(`00 40 04 00  ff ff ff ff  00*56`),
    values: { opc: 0, psdt: 1, cid: 4, nsid: 0xffffffff },
    text: 'cid=4 Flush nsid=all',
  },
  {
    name: 'Dataset Management',
    layout: DsmSqe,
    queue: 'io',
    bytes: hex(`09 40 05 00  01 00 00 00  00*8 00*8 ${transport('00 10 00 00')}  ff 00 00 00  04 00 00 00  00*16`),
    values: { opc: 9, psdt: 1, cid: 5, nsid: 1, sglLength: 4096, sglId: 0x5a, nr: 255, ad: 1 },
    text: 'cid=5 Dataset Management nsid=1 nr=256 ad=1',
  },
  {
    name: 'Zone Append with FUA',
    layout: ZoneAppendSqe,
    queue: 'io',
    bytes: hex(
      `7d 40 06 00  02 00 00 00  00*8 00*8 ${transport('00 10 00 00')}  00 00 08 00 01 00 00 00  00 00 00 42  00*4 00*8`,
    ),
    values: {
      opc: 0x7d,
      psdt: 1,
      cid: 6,
      nsid: 2,
      sglLength: 4096,
      sglId: 0x5a,
      zslba: 0x100080000,
      fua: 1,
      piremap: 1,
    },
    text: 'cid=6 Zone Append nsid=2 zslba=4295491584 nlb=1 piremap=1 fua=1',
  },
  {
    name: 'Zone Management Send: reset of all zones',
    layout: ZoneManagementSendSqe,
    queue: 'io',
    bytes: hex(`79 40 07 00  02 00 00 00  00*8 00*8 ${none}  00*8  00*4  04 01 00 00  00*8`),
    values: { opc: 0x79, psdt: 1, cid: 7, nsid: 2, zsa: 4, all: 1 },
    text: 'cid=7 Zone Management Send nsid=2 zsa=reset all=1',
  },
  {
    name: 'Zone Management Receive: closed zones, partial report',
    layout: ZoneManagementReceiveSqe,
    queue: 'io',
    bytes: hex(
      `7a 40 08 00  02 00 00 00  00*8 00*8 ${transport('00 10 00 00')}  00 00 01 00 00*4  ff 03 00 00  00 04 01 00  00*8`,
    ),
    values: {
      opc: 0x7a,
      psdt: 1,
      cid: 8,
      nsid: 2,
      sglLength: 4096,
      sglId: 0x5a,
      slba: 65536,
      numd: 1023,
      zrasf: 4,
      partial: 1,
    },
    text: 'cid=8 Zone Management Receive nsid=2 numd=1024 slba=65536 zrasf=4 partial=1',
  },
  {
    name: 'I/O command of another set',
    layout: Sqe,
    queue: 'io',
    bytes: hex(`12 40 06 00  02 00 00 00  00*8 00*8 ${transport('00 10 00 00')}  00*8  ff 03 00 00  00*12`),
    values: { opc: 0x12, psdt: 1, cid: 6, nsid: 2, sglLength: 4096, sglSubtype: 10, sglType: 5, cdw12: 0x3ff },
    text: 'cid=6 I/O Management Receive nsid=2 cdw12=0x000003ff',
  },
  {
    name: 'Identify: active namespaces after 7, of the Zoned command set',
    layout: IdentifySqe,
    queue: 'admin',
    bytes: hex(
      `06 40 07 00  07 00 00 00  00*8 00*8 ${transport('00 10 00 00')}  07 00 34 12  21 43 00 02  00*8  05 00 00 00  00*4`,
    ),
    values: {
      opc: 6,
      psdt: 1,
      cid: 7,
      nsid: 7,
      sglLength: 4096,
      sglId: 0x5a,
      cns: 7,
      cntid: 0x1234,
      cnssid: 0x4321,
      csi: 2,
      uidx: 5,
    },
    text: 'cid=7 Identify nsid=7 cns=CsActiveNamespaceList cntid=4660 cnssid=17185 csi=2 uidx=5',
  },
  {
    name: 'Get Log Page: the ANA log, groups only, event retained, from an offset',
    layout: GetLogPageSqe,
    queue: 'admin',
    bytes: hex(
      `02 40 08 00  ff ff ff ff  00*8 00*8 ${transport('00 00 08 00')}  0c 81 ff ff  01 00 02 00  00 00 00 00 01 00 00 00  00 00 80 03  00*4`,
    ),
    values: {
      opc: 2,
      psdt: 1,
      cid: 8,
      nsid: 0xffffffff,
      sglLength: 0x80000,
      sglId: 0x5a,
      lid: 0x0c,
      lsp: 1,
      rae: 1,
      numd: 0x1ffff,
      lsi: 2,
      lpo: 2 ** 32,
      ot: 1,
      csi: 3,
    },
    text: 'cid=8 Get Log Page nsid=all lid=Ana numd=131072 lsp=1 rae=1 lsi=2 lpo=4294967296 ot=1 csi=3',
  },
  {
    name: 'Set Features: eight queue pairs, saved',
    layout: FeaturesSqe,
    queue: 'admin',
    bytes: hex(`09 40 09 00  00 00 00 00  00*8 00*8 ${none}  07 00 00 80  07 00 07 00  00*16`),
    values: { opc: 9, psdt: 1, cid: 9, fid: 7, sv: 1, dw11: 0x70007 },
    text: 'cid=9 Set Features fid=NumberOfQueues sv=1 dw11=0x00070007',
  },
  {
    name: 'Get Features: default of the volatile write cache',
    layout: FeaturesSqe,
    queue: 'admin',
    bytes: hex(`0a 40 0a 00  00 00 00 00  00*8 00*8 ${none}  06 01 00 00  00*20`),
    values: { opc: 10, psdt: 1, cid: 10, fid: 6, sel: 1 },
    text: 'cid=10 Get Features fid=VolatileWriteCache sel=default',
  },
  {
    name: 'Abort',
    layout: AbortSqe,
    queue: 'admin',
    bytes: hex(`08 40 0b 00  00 00 00 00  00*8 00*8 ${none}  03 00 2a 00  00*20`),
    values: { opc: 8, psdt: 1, cid: 11, sqid: 3, abortCid: 42 },
    text: 'cid=11 Abort sqid=3 abortCid=42',
  },
  {
    name: 'Asynchronous Event Request',
    layout: AsyncEventRequestSqe,
    queue: 'admin',
    bytes: hex('0c 40 0c 00  00*60'),
    values: { opc: 12, psdt: 1, cid: 12 },
    text: 'cid=12 Asynchronous Event Request',
  },
  {
    name: 'Cross-Controller Reset',
    layout: CrossControllerResetSqe,
    queue: 'admin',
    bytes: hex('38 40 05 00  00*36  34 12 07 00  00*4  88 77 66 55 44 33 22 f1  00*8'),
    values: { opc: 0x38, psdt: 1, cid: 5, icid: 0x1234, ciu: 7, cirn: 0xf122334455667788n },
    text: 'cid=5 Cross-Controller Reset icid=4660 ciu=7 cirn=0xf122334455667788',
  },
  {
    name: 'Keep Alive',
    layout: KeepAliveSqe,
    queue: 'admin',
    bytes: hex('18 40 0d 00  00*60'),
    values: { opc: 0x18, psdt: 1, cid: 13 },
    text: 'cid=13 Keep Alive',
  },
  {
    name: 'Connect of I/O queue 2 without SQ flow control',
    layout: ConnectSqe,
    queue: 'io',
    bytes: hex(
      `7f 40 0e 00  01 00 00 00  00*8 00*8 ${inCapsule('00 04 00 00')}  00 00 02 00  7f 00 04 00  00 00 00 00  00*12`,
    ),
    values: { opc: 0x7f, psdt: 1, cid: 14, fctype: 1, sglLength: 1024, sglId: 1, qid: 2, sqsize: 127, cattr: 4 },
    text: 'cid=14 Connect qid=2 sqsize=128 cattr=0x04',
  },
  {
    name: 'Property Get of CAP',
    layout: PropertySqe,
    queue: 'admin',
    bytes: hex(`7f 40 0f 00  04 00 00 00  00*16  ${none}  01 00 00 00  00 00 00 00  00*16`),
    values: { opc: 0x7f, psdt: 1, cid: 15, fctype: 4, attrib: 1 },
    text: 'cid=15 Property Get ofst=CAP',
  },
  {
    name: 'Property Set of CC',
    layout: PropertySqe,
    queue: 'admin',
    bytes: hex(`7f 40 10 00  00 00 00 00  00*16  ${none}  00 00 00 00  14 00 00 00  01 00 46 00 00 00 00 00  00*8`),
    values: { opc: 0x7f, psdt: 1, cid: 16, fctype: 0, ofst: 0x14, value: 0x460001n },
    text: 'cid=16 Property Set ofst=CC value=0x460001',
  },
];

export const CQE_VECTORS: readonly (Omit<EntryVector, 'queue'> & { readonly fabrics: boolean })[] = [
  {
    name: 'success with a result',
    layout: Cqe,
    fabrics: false,
    bytes: hex('07 00 07 00  00 00 00 00  05 00  00 00  09 00  00 00'),
    values: { dw0: 0x70007, sqhd: 5, cid: 9 },
    text: 'cid=9 Successful Completion sqhd=5 dw0=0x00070007',
  },
  {
    name: 'media error, more, second retry delay, phase bit',
    layout: Cqe,
    fabrics: false,
    bytes: hex('00*8  01 00  03 00  02 01  03 65'),
    values: { sqhd: 1, sqid: 3, cid: 0x102, p: 1, sc: 0x81, sct: 2, crd: 2, m: 1 },
    text: 'cid=258 Unrecovered Read Error more crd=2 sqhd=1 sqid=3',
  },
  {
    name: 'Connect Invalid Parameters with its IPO',
    layout: Cqe,
    fabrics: true,
    bytes: hex('00 01 01 00  00 00 00 00  00 00  00 00  00 00  04 83'),
    values: { dw0: 0x10100, sc: 0x82, sct: 1, dnr: 1 },
    text: 'cid=0 Connect Invalid Parameters dnr sqhd=0 dw0=0x00010100',
  },
];
