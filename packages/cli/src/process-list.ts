import { ControlClient, type RunningProcess, runningProcesses } from '@nvbraid/manage';
import { processStatus } from './process-session.ts';
import type { ConnectStatus, ProcessStatus } from './status.ts';
import type { Terminal } from './terminal.ts';

/** A process with what it said of itself. */
export interface Found<S extends ProcessStatus = ProcessStatus> {
  readonly socket: string;
  readonly status: S;
}

/**
 * What all processes say that run here.
 * @param only the socket of the one that is meant
 * @param terminal told of processes that do not answer; null: nobody is
 * @param who the command, for messages
 */
export async function allStatuses(only: string | undefined, terminal: Terminal | null, who: string): Promise<Found[]> {
  if (only !== undefined) return [{ socket: only, status: await statusOf(only) }];
  const found: Found[] = [];
  for (const process of await runningProcesses()) {
    try {
      found.push({ socket: process.socket, status: await statusOf(process.socket) });
    } catch (error) {
      // It may have ended since; a process that hangs must not hide the others.
      terminal?.note(`nvbraid ${who}: process ${process.pid} does not answer: ${(error as Error).message}`);
    }
  }
  return found;
}

/** Processes that have connected something: `connect`, `connect-all` and `nbd`. */
export async function hostProcesses(): Promise<RunningProcess[]> {
  return (await runningProcesses()).filter(isHost);
}

export function isHost({ role }: RunningProcess): boolean {
  return role === 'connect' || role === 'nbd';
}

/** What a person calls it. */
export function commandOf(status: ProcessStatus): string {
  return status.role === 'connect' && status.nbd !== undefined ? 'nbd' : status.role;
}

export function isConnected(found: Found): found is Found<ConnectStatus> {
  return found.status.role === 'connect';
}

async function statusOf(path: string): Promise<ProcessStatus> {
  const client = await ControlClient.connect(path);
  try {
    return await processStatus(client);
  } finally {
    client.close();
  }
}
