import type { MessagePort } from 'node:worker_threads';
import type { CommandError, ForwardedCommand, PublishedFault, QueueHandoff, SubsystemSnapshot } from '@nvbraid/target';
import type { SubflowReport } from '@nvbraid/transport';
import type { QueueOwner } from './data-plane.ts';
import type { TargetLimits } from './target-limits.ts';

/** What the control plane tells a reactor. A message counts from the moment the shared version word is raised. */
export type ToReactor =
  | { kind: 'subsystem'; snapshot: SubsystemSnapshot }
  | { kind: 'queue'; transport: string; fd: number; handoff: QueueHandoff; owner: QueueOwner }
  /** Replaces all protocol faults. */
  | { kind: 'faults'; faults: readonly PublishedFault[] }
  | { kind: 'close-queue'; association: number; qid: number }
  | { kind: 'flush'; nqn: string; id: number }
  | { kind: 'barrier'; id: number }
  /** No commands are taken any more; answered when all queues are gone. */
  | { kind: 'drain-queues'; id: number }
  | { kind: 'drain'; instance: number; id: number }
  /** The answer to a command that was forwarded. */
  | { kind: 'forwarded'; id: number; status: number; data: Uint8Array | null }
  /** What is the connection of a queue made of? */
  | { kind: 'subflows'; id: number; association: number; qid: number; backup: boolean }
  | { kind: 'stop' };

/** What a reactor tells the control plane. */
export type FromReactor =
  | { kind: 'ready' }
  | { kind: 'queue-gone'; association: number; qid: number; error: string | null; fatalFes: number }
  /** A command that the control plane must run. */
  | {
      kind: 'forward';
      id: number;
      association: number;
      nsid: number;
      instance: number;
      command: ForwardedCommand;
    }
  /** Everything published before the barrier is in force, or the flush or drain of that id is done. */
  | { kind: 'barrier'; id: number }
  | { kind: 'subflows'; id: number; report: SubflowReport | null }
  | { kind: 'log'; message: string }
  /** A peer has met a limit; the sentence says who, and what was done. */
  | { kind: 'limit-met'; limit: string; sentence: string }
  /** For the error log of a controller. */
  | { kind: 'command-failed'; association: number; error: CommandError }
  /** A fault wants this controller gone. */
  | { kind: 'kill-controller'; association: number }
  | { kind: 'stopped' };

export interface ReactorData {
  readonly port: MessagePort;
  readonly wakeFd: number;
  /** One word, raised after each message. */
  readonly version: SharedArrayBuffer;
  /** How many failed commands the control plane has heard of, modulo 2^32. */
  readonly failuresHeard: SharedArrayBuffer;
  readonly poolBytes: number;
  readonly threads: number;
  readonly limits: TargetLimits;
  /** Which of them this is, from 0 on. */
  readonly thread: number;
}
