import { ascii, bytes, cstring, layout, type Names, u8, u16, u32, u64, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';

/*
 * Discovery log page (LID 70h; Base 2.1, 5.1.12.3.1): a header and `numrec` entries of 1024 bytes each.
 */
export const DiscoveryHeader = layout('DiscoveryHeader', 1024, {
  /** Changes with every change of the page. */
  genctr: u64(0),
  numrec: u64(8),
  recfmt: u16(16),
  dlpf: u8(18, { hex: true }),
  tdlpl: u32(20),
});
export type DiscoveryHeader = ValueOf<typeof DiscoveryHeader>;
export const DISCOVERY_HEADER_SIZE = 1024;
export const DISCOVERY_ENTRY_SIZE = 1024;

export const Trtype = {
  Rdma: 1,
  Fc: 2,
  Tcp: 3,
  /**
   * Provisional: the specification has not assigned a value. The Linux patches for Multipath TCP use this one until it has;
   * it stands here and nowhere else.
   */
  Mptcp: 4,
  Loop: 254,
} as const;
/** As nvme-cli and configfs spell them. */
export const TRTYPE_NAMES: Names = {
  [Trtype.Rdma]: 'rdma',
  [Trtype.Fc]: 'fc',
  [Trtype.Tcp]: 'tcp',
  [Trtype.Mptcp]: 'mptcp',
  [Trtype.Loop]: 'loop',
};

export const Adrfam = { Pci: 0, Ipv4: 1, Ipv6: 2, Ib: 3, Fc: 4, Loop: 254 } as const;
export const ADRFAM_NAMES: Names = { 0: 'pci', 1: 'ipv4', 2: 'ipv6', 3: 'ib', 4: 'fc', 254: 'loop' };

export const Subtype = { Referral: 1, Nvme: 2, CurrentDiscovery: 3 } as const;
export const SUBTYPE_NAMES: Names = {
  1: 'discovery subsystem referral',
  2: 'nvme subsystem',
  3: 'current discovery subsystem',
};

/** Transport requirements: bits 1:0 secure channel, bit 2 SQ flow control can be disabled. */
export const Treq = { NotSpecified: 0, Required: 1, NotRequired: 2, DisableSqflow: 4 } as const;
export const TREQ_NAMES: Names = {
  0: 'not specified',
  1: 'required',
  2: 'not required',
  4: 'not specified, sq flow control disable supported',
  5: 'required, sq flow control disable supported',
  6: 'not required, sq flow control disable supported',
};

/** First byte of tsas with trtype tcp (NVMe-TCP 3.8.1). */
export const Sectype = { None: 0, Tls12: 1, Tls13: 2 } as const;
export const SECTYPE_NAMES: Names = { 0: 'none', 1: 'tls', 2: 'tls13' };

/** The same information on several ports; explicit persistent connections; not for connections. */
export const Eflags = { Dupretinfo: 1, Epcsd: 2, Ncc: 4 } as const;
export const EFLAGS_NAMES: Names = {
  0: 'none',
  1: 'duplicate discovery information',
  2: 'explicit discovery connections',
  3: 'explicit discovery connections, duplicate discovery information',
};

/** cntlid of an entry: dynamic controller model, static controller model where any controller will do. */
export const DISCOVERY_CNTLID_DYNAMIC = 0xffff;
export const DISCOVERY_CNTLID_STATIC = 0xfffe;

/** The well-known name of every discovery subsystem (Base 2.1, 4.7). */
export const DISCOVERY_NQN = 'nqn.2014-08.org.nvmexpress.discovery';
/** Well-known port of discovery over TCP, and of I/O controllers. */
export const DISCOVERY_TCP_PORT = 8009;
export const NVME_TCP_PORT = 4420;

export const DiscoveryEntry = layout('DiscoveryEntry', 1024, {
  trtype: u8(0, { names: TRTYPE_NAMES }),
  adrfam: u8(1, { names: ADRFAM_NAMES }),
  subtype: u8(2, { names: SUBTYPE_NAMES }),
  treq: u8(3, { names: TREQ_NAMES }),
  portid: u16(4),
  cntlid: u16(6, { hex: true }),
  /** Largest admin submission queue, entries. */
  asqsz: u16(8),
  eflags: u16(10, { names: EFLAGS_NAMES }),
  trsvcid: ascii(32, 32),
  subnqn: cstring(256, 256),
  traddr: ascii(512, 256),
  tsas: bytes(768, 256),
});
export type DiscoveryEntry = ValueOf<typeof DiscoveryEntry>;

export function discoveryLog(genctr: number, entries: readonly Partial<DiscoveryEntry>[]): Uint8Array {
  const page = new Uint8Array(DISCOVERY_HEADER_SIZE + entries.length * DISCOVERY_ENTRY_SIZE);
  const view = new DataView(page.buffer);
  DiscoveryHeader.emit(view, 0, { genctr, numrec: entries.length, recfmt: 0 });
  for (let i = 0; i < entries.length; i++)
    DiscoveryEntry.emit(view, DISCOVERY_HEADER_SIZE + i * DISCOVERY_ENTRY_SIZE, entries[i]!);
  return page;
}

export interface DiscoveryLog {
  readonly genctr: number;
  /** Entries that the page has; more than `entries.length` when not all of it was read. */
  readonly numrec: number;
  readonly entries: readonly DiscoveryEntry[];
}

/** Reads the header and the whole entries that `page` holds. */
export function parseDiscoveryLog(page: Uint8Array): Parsed<DiscoveryLog> {
  if (page.length < DISCOVERY_HEADER_SIZE) return unparsable('shorter than its header');
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { genctr, numrec, recfmt } = DiscoveryHeader.parse(view, 0);
  if (recfmt !== 0) return unparsable(`unknown record format ${recfmt}`);
  const held = Math.floor((page.length - DISCOVERY_HEADER_SIZE) / DISCOVERY_ENTRY_SIZE);
  const entries = Array.from({ length: Math.min(numrec, held) }, (_, i) =>
    DiscoveryEntry.parse(view, DISCOVERY_HEADER_SIZE + i * DISCOVERY_ENTRY_SIZE),
  );
  return parsed({ genctr, numrec, entries });
}
