import { Memory, type Slab } from '@nvbraid/base';
import { type Io, IoOp, IoResult } from '@nvbraid/blockdev';
import { NbdCommand } from '@nvbraid/wire';
import type { NbdSession } from './nbd-session.ts';

/** One request under way: also the operation that it is to the device. Used again and again. */
export class NbdSlot implements Io {
  readonly session: NbdSession;
  op: IoOp = IoOp.Read;
  offset = 0;
  length = 0;
  memory: Memory = NOTHING;
  memoryOffset = 0;
  fua = false;
  deallocate = false;
  result: IoResult = IoResult.Ok;

  type: number = NbdCommand.Read;
  cookieHigh = 0;
  cookieLow = 0;
  slab: Slab | null = null;
  /** Bytes of a write's data that have arrived. */
  received = 0;
  /** A Trim with FUA is followed by a Flush. */
  flushAfter = false;
  /** NBD error; 0 when it went well. */
  error = 0;
  /** For people; empty when the number says it all. */
  message = '';
  /** Payload of the reply that is not in the slab: Block Status. */
  body: Uint8Array | null = null;

  constructor(session: NbdSession) {
    this.session = session;
  }

  done(): void {
    this.session.operationDone(this);
  }
}

const NOTHING = Memory.alloc(0);
