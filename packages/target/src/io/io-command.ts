import type { CommandEffects } from '@nvbraid/wire';
import type { NamespaceEntry } from '../namespace-table.ts';
import type { Request } from '../request.ts';
import type { IoCommands } from './io-commands.ts';
import type { IoTask } from './io-task.ts';

/** What a command does to the namespace: decides about write protection. */
export const Access = {
  /** Nothing that concerns the blocks. */
  None: 0,
  Read: 1,
  /** Refused when the namespace is write protected. */
  Write: 2,
  /** Makes stable what was written: counts as a write for reservations, but is never refused by write protection. */
  Flush: 3,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

/** What `next` answers when it has prepared an operation in the task. */
export const SUBMIT = -1;
/** What `next` answers when it goes on later by itself, with `commands.proceed(task)`. */
export const WAIT = -2;

/** An I/O command: a row of a command set's table. The effects log is made from the table. */
export interface IoCommand {
  readonly effects: Partial<CommandEffects>;
  readonly access: Access;
  /**
   * What must hold when the command arrives and again when it runs: the snapshot may have changed while its data was on
   * the way. The namespace's path and write protection have been checked. A status other than 0 ends the command.
   */
  check?(commands: IoCommands, entry: NamespaceEntry, request: Request): number;
  /**
   * After `check`, before data is fetched: bounds `request.dataLength`. A status other than 0 ends the command. Absent:
   * the command moves no data.
   */
  admit?(commands: IoCommands, entry: NamespaceEntry, request: Request): number;
  /** Runs the command, by `commands.start` or `commands.complete`. */
  execute(commands: IoCommands, entry: NamespaceEntry, request: Request): void;
  /**
   * Of a command that is more than one operation: called when one has ended well, with the operation in `task`.
   * @returns SUBMIT after having prepared the next one, WAIT, or the status with which the command ends
   */
  next?(commands: IoCommands, task: IoTask, request: Request): number;
  /** An operation has failed: the status to end with, if it is to be another. May leave something in `task.dw0`. */
  failed?(commands: IoCommands, task: IoTask, status: number): number;
  /** Runs the command for nsid FFFFFFFFh. Absent: that names no namespace. */
  executeAll?(commands: IoCommands, request: Request): void;
}

/** Effects of commands that leave blocks as they are. The scope (csp) is left unsaid: Linux warns when it is told. */
export const READS: Partial<CommandEffects> = { csupp: 1 };
/** Effects of commands that change logical block content. */
export const WRITES: Partial<CommandEffects> = { csupp: 1, lbcc: 1 };
