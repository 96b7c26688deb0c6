import { lstatSync, readdirSync, type Stats, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';
import { ControlClient } from './control-client.ts';
import { makeRuntimeDirectory, runtimeDirectories } from './runtime-directory.ts';

/** A process that answers on a control socket in a runtime directory. */
export interface RunningProcess {
  /** What it does: the first part of the socket's name, e.g. `serve`, `connect`. */
  readonly role: string;
  readonly pid: number;
  readonly socket: string;
}

const NAME = /^([a-z]+)-([0-9]+)(?:\.[0-9]+)?\.sock$/;

/**
 * The path of this process's own socket, in a directory that exists when this returns.
 * @param number tells sockets of one process apart
 */
export function ownSocketPath(role: string, pid = process.pid, number?: number): string {
  return join(makeRuntimeDirectory(), `${role}-${pid}${number === undefined ? '' : `.${number}`}.sock`);
}

/** All running processes, by pid. Sockets that dead processes left behind are removed. */
export async function runningProcesses(directories = runtimeDirectories()): Promise<RunningProcess[]> {
  const found: RunningProcess[] = [];
  for (const directory of new Set(directories)) {
    for (const name of namesIn(directory)) {
      const match = NAME.exec(name);
      if (match === null) continue;
      const socket = join(directory, name);
      const pid = Number(match[2]);
      if (await answers(socket)) found.push({ role: match[1]!, pid, socket });
      else if (!alive(pid)) remove(socket);
    }
  }
  return found.sort((a, b) => a.pid - b.pid || a.socket.localeCompare(b.socket));
}

/**
 * Removes the socket of a dead process.
 * @throws NvbraidError EADDRINUSE when somebody answers there, EINVAL when the path is something else than a socket
 */
export async function clearStaleSocket(path: string): Promise<void> {
  const stats = look(path);
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new NvbraidError('EINVAL', `${path} exists and is not a socket`);
  if (await answers(path)) throw new NvbraidError('EADDRINUSE', `another process has the control socket ${path}`);
  remove(path);
}

async function answers(path: string): Promise<boolean> {
  try {
    (await ControlClient.connect(path)).close();
    return true;
  } catch (error) {
    // Too busy to answer is alive.
    return error instanceof NvbraidError && error.code === 'ETIMEDOUT';
  }
}

function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new NvbraidError('EACCES', `no permission to make the control socket ${path}`, { cause: error });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody else was faster, or it is not ours.
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
