import { EAGAIN } from './file-calls.ts';
import { libc } from './native.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** taken: it is ours; busy: another open file holds it; unsupported: here, or in this file system, there are no locks. */
export type LockOutcome = 'taken' | 'busy' | 'unsupported';

/**
 * Locks an open file (flock(2)) without waiting. The lock belongs to the open file, not to the process: the kernel frees it
 * when the last descriptor of it is closed, however the process ends, and not before its last thread has left its last
 * system call.
 */
export function lockFile(fd: number, kind: 'exclusive' | 'shared'): LockOutcome {
  const library = libc();
  if (library === null) return 'unsupported';
  if (library.flock(fd, (kind === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return 'taken';
  return library.error() === EAGAIN ? 'busy' : 'unsupported';
}
