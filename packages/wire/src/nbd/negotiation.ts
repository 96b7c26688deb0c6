import { layout, type Names, u16be, u32be, u64be, type ValueOf } from '../layout.ts';

/*
 * The handshake of the Network Block Device protocol, "fixed newstyle" (NBD protocol, "Newstyle negotiation"). Everything
 * is in network byte order. 64-bit magic numbers are written as two words.
 */

/** NBDMAGIC */
export const NBD_MAGIC: readonly [number, number] = [0x4e42444d, 0x41474943];
/** IHAVEOPT */
export const NBD_OPTION_MAGIC: readonly [number, number] = [0x49484156, 0x454f5054];
export const NBD_OPTION_REPLY_MAGIC: readonly [number, number] = [0x0003e889, 0x045565a9];

/** Flags of the server's greeting and of the client's answer. */
export const NbdHandshakeFlag = { FixedNewstyle: 1, NoZeroes: 2 } as const;

/** The server's first bytes. */
export const NbdGreeting = layout('NbdGreeting', 18, {
  magicHigh: u32be(0, { hex: true }),
  magicLow: u32be(4, { hex: true }),
  optionMagicHigh: u32be(8, { hex: true }),
  optionMagicLow: u32be(12, { hex: true }),
  flags: u16be(16, { hex: true }),
});

export const NbdClientFlags = layout('NbdClientFlags', 4, { flags: u32be(0, { hex: true }) });

export const NbdOption = {
  ExportName: 1,
  Abort: 2,
  List: 3,
  StartTls: 5,
  Info: 6,
  Go: 7,
  StructuredReply: 8,
  ListMetaContext: 9,
  SetMetaContext: 10,
  ExtendedHeaders: 11,
} as const;

export const NBD_OPTION_NAMES: Names = {
  1: 'NBD_OPT_EXPORT_NAME',
  2: 'NBD_OPT_ABORT',
  3: 'NBD_OPT_LIST',
  5: 'NBD_OPT_STARTTLS',
  6: 'NBD_OPT_INFO',
  7: 'NBD_OPT_GO',
  8: 'NBD_OPT_STRUCTURED_REPLY',
  9: 'NBD_OPT_LIST_META_CONTEXT',
  10: 'NBD_OPT_SET_META_CONTEXT',
  11: 'NBD_OPT_EXTENDED_HEADERS',
};

/** What a client asks for; `length` bytes of data follow. */
export const NbdOptionRequest = layout('NbdOptionRequest', 16, {
  magicHigh: u32be(0, { hex: true }),
  magicLow: u32be(4, { hex: true }),
  option: u32be(8, { names: NBD_OPTION_NAMES }),
  length: u32be(12),
});
export type NbdOptionRequest = ValueOf<typeof NbdOptionRequest>;

/** Reply types; errors have the highest bit set. */
export const NbdReply = {
  Ack: 1,
  Server: 2,
  Info: 3,
  MetaContext: 4,
  ErrUnsup: 0x80000001,
  ErrPolicy: 0x80000002,
  ErrInvalid: 0x80000003,
  ErrPlatform: 0x80000004,
  ErrTlsReqd: 0x80000005,
  ErrUnknown: 0x80000006,
  ErrShutdown: 0x80000007,
  ErrBlockSizeReqd: 0x80000008,
  ErrTooBig: 0x80000009,
} as const;

export const NbdOptionReply = layout('NbdOptionReply', 20, {
  magicHigh: u32be(0, { hex: true }),
  magicLow: u32be(4, { hex: true }),
  option: u32be(8, { names: NBD_OPTION_NAMES }),
  type: u32be(12, { hex: true }),
  length: u32be(16),
});
export type NbdOptionReply = ValueOf<typeof NbdOptionReply>;

/** Kinds of information in replies to NBD_OPT_INFO and NBD_OPT_GO. */
export const NbdInfo = { Export: 0, Name: 1, Description: 2, BlockSize: 3 } as const;

export const NbdInfoExport = layout('NbdInfoExport', 12, {
  type: u16be(0),
  exportSize: u64be(2),
  flags: u16be(10, { hex: true }),
});

/** Minimum, preferred and maximum payload, in bytes. */
export const NbdInfoBlockSize = layout('NbdInfoBlockSize', 14, {
  type: u16be(0),
  minimum: u32be(2),
  preferred: u32be(6),
  maximum: u32be(10),
});

/** The answer to NBD_OPT_EXPORT_NAME; 124 zeroes follow unless both sides have said NoZeroes. */
export const NbdExportNameReply = layout('NbdExportNameReply', 10, {
  exportSize: u64be(0),
  flags: u16be(8, { hex: true }),
});
export const NBD_EXPORT_NAME_ZEROES = 124;

/** What an export can do. */
export const NbdExportFlag = {
  HasFlags: 0x1,
  ReadOnly: 0x2,
  SendFlush: 0x4,
  SendFua: 0x8,
  Rotational: 0x10,
  SendTrim: 0x20,
  SendWriteZeroes: 0x40,
  SendDf: 0x80,
  CanMultiConn: 0x100,
  SendResize: 0x200,
  SendCache: 0x400,
  SendFastZero: 0x800,
} as const;
