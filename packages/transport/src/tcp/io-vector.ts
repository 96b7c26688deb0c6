import { Memory, type Outbox } from '@nvbraid/base';
import { addressOf } from '../libc.ts';
import { IO_MAX_BYTES, IOV_MAX } from '../limits.ts';

/*
 * struct iovec   base u64 | length u64
 * struct msghdr  name ptr | namelen u32, pad | iov ptr | iovlen u64 | control ptr | controllen u64 | flags u32, pad
 */
const IOVEC_SIZE = 16;
const MSGHDR_SIZE = 56;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;

/** Where the bytes of one system call lie, as the kernel reads it; one per thread, filled again for each call. */
export class IoVector {
  readonly #words: Uint32Array;
  readonly #message = Memory.alloc(MSGHDR_SIZE);
  /** For readv. */
  readonly address: number;
  /** For sendmsg. */
  readonly messageAddress: number;
  count = 0;

  constructor() {
    const memory = Memory.alloc(IOV_MAX * IOVEC_SIZE);
    this.#words = new Uint32Array(memory.bytes.buffer);
    this.address = addressOf(memory);
    this.messageAddress = addressOf(this.#message);
    this.#message.view.setBigUint64(MSG_IOV, BigInt(this.address), true);
  }

  set(index: number, address: number, length: number): void {
    const words = this.#words;
    const at = index * 4;
    words[at] = address >>> 0;
    words[at + 1] = (address / 0x100000000) >>> 0;
    words[at + 2] = length;
  }

  /** To be called before `messageAddress` is used. */
  finishMessage(): void {
    this.#message.view.setUint32(MSG_IOVLEN, this.count, true);
  }

  /**
   * Points at the segments from `first` on, leaving out the first `skip` bytes of that one; answers the number of
   * bytes. At most IOV_MAX segments and IO_MAX_BYTES bytes.
   */
  gather(out: Outbox, first: number, skip: number): number {
    const words = this.#words;
    const { memories, offsets, lengths } = out;
    const end = Math.min(out.count, first + IOV_MAX);
    let bytes = 0;
    let at = 0;
    for (let i = first; i < end; i++) {
      const memory = memories[i]!;
      const from = i === first ? skip : 0;
      const address = (memory.address === 0 ? addressOf(memory) : memory.address) + offsets[i]! + from;
      const length = Math.min(lengths[i]! - from, IO_MAX_BYTES - bytes);
      words[at] = address >>> 0;
      words[at + 1] = (address / 0x100000000) >>> 0;
      words[at + 2] = length;
      at += 4;
      bytes += length;
    }
    this.count = at >>> 2;
    return bytes;
  }
}

let shared: IoVector | null = null;

/** The vector of this thread. */
export function ioVector(): IoVector {
  shared ??= new IoVector();
  return shared;
}
