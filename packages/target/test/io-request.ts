import assert from 'node:assert/strict';
import { Memory, type Slab } from '@nvbraid/base';
import type { Io, IoOp } from '@nvbraid/blockdev';
import type { CommandQueue, Request } from '../src/request.ts';

/** A request with data for a command set, without a queue. */
export class IoRequest implements Request {
  readonly queue = null as unknown as CommandQueue;
  readonly fabrics = false;
  readonly sqeView = new DataView(new ArrayBuffer(64));
  readonly sqeBase = 0;
  readonly cid = 1;
  readonly opcode: number;
  readonly index: number;
  readonly sglLength: number;
  dataLength: number;
  dataMemory: Memory;
  dataOffset = 0;
  status = -1;
  dw0 = -1;

  constructor(index: number, opcode: number, data: Uint8Array<ArrayBufferLike>) {
    this.index = index;
    this.opcode = opcode;
    this.sglLength = data.length;
    this.dataLength = data.length;
    this.dataMemory = Memory.over(data);
  }
  keepData(): void {
    this.dataMemory = Memory.over(this.dataMemory.bytes.slice());
  }
  replyBuffer(): Slab {
    throw new Error('nothing is returned');
  }
  replyFrom(): void {}
  replyBytes(): void {}
  complete(status: number, dw0 = 0): void {
    assert.equal(this.status, -1, 'completed once');
    this.status = status;
    this.dw0 = dw0;
  }
}

/** An operation on the whole of a device. */
export function ioOf(op: IoOp, memory: Memory): Io {
  const length = memory.length;
  return { op, offset: 0, length, memory, memoryOffset: 0, fua: false, deallocate: false, result: 0, done() {} };
}
