import { layout, type Names, u16be, u32be, u64be, type ValueOf } from '../layout.ts';

/* Requests and replies of the Network Block Device protocol ("Transmission"). */

export const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const NbdCommand = {
  Read: 0,
  Write: 1,
  Disconnect: 2,
  Flush: 3,
  Trim: 4,
  Cache: 5,
  WriteZeroes: 6,
  BlockStatus: 7,
  Resize: 8,
} as const;

export const NBD_COMMAND_NAMES: Names = {
  0: 'NBD_CMD_READ',
  1: 'NBD_CMD_WRITE',
  2: 'NBD_CMD_DISC',
  3: 'NBD_CMD_FLUSH',
  4: 'NBD_CMD_TRIM',
  5: 'NBD_CMD_CACHE',
  6: 'NBD_CMD_WRITE_ZEROES',
  7: 'NBD_CMD_BLOCK_STATUS',
  8: 'NBD_CMD_RESIZE',
};

export const NbdCommandFlag = { Fua: 1, NoHole: 2, Df: 4, ReqOne: 8, FastZero: 16 } as const;

/** `length` bytes of data follow a write. The cookie is the client's, in two words that mean nothing to a server. */
export const NbdRequest = layout('NbdRequest', 28, {
  magic: u32be(0, { hex: true }),
  flags: u16be(4, { hex: true }),
  type: u16be(6, { names: NBD_COMMAND_NAMES }),
  cookieHigh: u32be(8, { hex: true }),
  cookieLow: u32be(12, { hex: true }),
  offset: u64be(16),
  length: u32be(24),
});
export type NbdRequest = ValueOf<typeof NbdRequest>;

export const NbdSimpleReply = layout('NbdSimpleReply', 16, {
  magic: u32be(0, { hex: true }),
  error: u32be(4),
  cookieHigh: u32be(8, { hex: true }),
  cookieLow: u32be(12, { hex: true }),
});

/** The last chunk of a reply. */
export const NBD_REPLY_DONE = 1;
export const NbdChunk = {
  None: 0,
  OffsetData: 1,
  OffsetHole: 2,
  BlockStatus: 5,
  Error: 0x8001,
  ErrorOffset: 0x8002,
} as const;

export const NbdStructuredReply = layout('NbdStructuredReply', 20, {
  magic: u32be(0, { hex: true }),
  flags: u16be(4, { hex: true }),
  type: u16be(6, { hex: true }),
  cookieHigh: u32be(8, { hex: true }),
  cookieLow: u32be(12, { hex: true }),
  length: u32be(16),
});

/** What stands before the data of an OffsetData chunk. */
export const NbdOffset = layout('NbdOffset', 8, { offset: u64be(0) });
/** An Error chunk; `messageLength` bytes of text follow. */
export const NbdErrorChunk = layout('NbdErrorChunk', 6, { error: u32be(0), messageLength: u16be(4) });
/** A BlockStatus chunk is a context identifier and descriptors. */
export const NbdContextId = layout('NbdContextId', 4, { contextId: u32be(0) });
export const NbdStatusDescriptor = layout('NbdStatusDescriptor', 8, {
  length: u32be(0),
  flags: u32be(4, { hex: true }),
});
/** Flags of the context base:allocation. */
export const NbdState = { Hole: 1, Zero: 2 } as const;

/** Errors are those of Linux. */
export const NbdError = {
  Ok: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
