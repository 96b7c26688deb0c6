import { basename, join, resolve } from 'node:path';

/**
 * What a namespace keeps beside its blocks, each in a file of its own: the registrants and the reservation, the blocks
 * that Write Uncorrectable has marked, the states of the zones, whether hosts have protected it, who serves it.
 */
export type StateKind = 'reservations' | 'uncorrectable' | 'zones' | 'protection' | 'processes';

/**
 * Where a namespace's state is kept: for a regular file in the directory `FILE.nvbraid` beside it, so that it moves with
 * the file; for a block device in `stateDirectory`, since nothing can be put beside it. Directories are made with the
 * first file in them, never before.
 * @param blockDevice true for a block device
 * @returns null when there is no place: the state ends with the process then
 */
export function statePath(
  path: string,
  blockDevice: boolean,
  kind: StateKind,
  stateDirectory: string | null = null,
): string | null {
  if (!blockDevice) return join(`${resolve(path)}.nvbraid`, kind);
  return stateDirectory === null ? null : join(stateDirectory, `${basename(resolve(path))}.nvbraid`, kind);
}
