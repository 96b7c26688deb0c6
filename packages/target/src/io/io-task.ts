import type { Memory } from '@nvbraid/base';
import { type Io, IoOp, type IoOwner, IoResult } from '@nvbraid/blockdev';
import type { NamespaceEntry } from '../namespace-table.ts';
import type { Request } from '../request.ts';
import type { IoCommand } from './io-command.ts';
import type { IoCommands } from './io-commands.ts';

/** What a command needs while a device works on it: one object per request, used again. */
export class IoTask implements Io {
  op: IoOp = IoOp.Read;
  offset = 0;
  length = 0;
  memory: Memory;
  memoryOffset = 0;
  fua = false;
  deallocate = false;
  result: IoResult = IoResult.Ok;
  readonly commands: IoCommands;
  request: Request | null = null;
  entry: NamespaceEntry | null = null;
  /** The row of a command that is more than one operation, null for the others. */
  steps: IoCommand | null = null;
  /** How far such a command has come, for its row to use. */
  step = 0;
  /** Bytes done of the range that is being worked on, and in a Copy, of all ranges. */
  at = 0;
  total = 0;
  /** What data passes through on its way. */
  piece: Memory | null = null;
  /** CompareAndWrite: what the blocks must hold, and the fused command that brought it. */
  compare: Memory;
  compareOffset = 0;
  first: Request | null = null;
  /** The operation writes blocks that are marked uncorrectable: the marks go before it is answered. */
  clears = false;
  /** Dwords 0 and 1 of the completion. */
  dw0 = 0;
  dw1 = 0;
  /** Who waits for the end of the command; null, as almost always, when nobody does. */
  ended: (() => void)[] | null = null;
  /** Namespaces of a broadcast Flush that are still to be flushed. */
  flushes: NamespaceEntry[] | null = null;

  constructor(commands: IoCommands, memory: Memory) {
    this.commands = commands;
    this.memory = memory;
    this.compare = memory;
  }

  /** The queue that sent the command is gone, or its host is. */
  get revoked(): boolean {
    return this.commands.over;
  }

  get owner(): IoOwner | undefined {
    return this.commands.owner;
  }

  done(): void {
    this.commands.operationDone(this);
  }
}
