import { lstatSync, mkdirSync, type Stats } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Where control sockets live, the place for new ones first: `$NVBRAID_RUNTIME_DIR` alone when it is set; else
 * `$XDG_RUNTIME_DIR/nvbraid`, `/run/nvbraid` for root, `nvbraid-UID` in the directory for temporary files. A process
 * may have been started with another environment than ours: all of them are searched.
 */
export function runtimeDirectories(env: Env = process.env, uid = process.getuid?.() ?? 0): string[] {
  if (env.NVBRAID_RUNTIME_DIR) return [env.NVBRAID_RUNTIME_DIR];
  const directories: string[] = [];
  if (env.XDG_RUNTIME_DIR) directories.push(join(env.XDG_RUNTIME_DIR, 'nvbraid'));
  if (uid === 0) directories.push('/run/nvbraid');
  directories.push(join(tmpdir(), `nvbraid-${uid}`));
  return directories;
}

/**
 * Makes the first directory that can be made, mode 0700.
 * @throws NvbraidError EACCES when none can be made, or when one belongs to somebody else or is open to others.
 */
export function makeRuntimeDirectory(directories = runtimeDirectories()): string {
  let last: unknown;
  for (const directory of directories) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      last = error;
      continue;
    }
    const problem = problemOf(lstatSync(directory));
    if (problem === null) return directory;
    throw new NvbraidError(
      'EACCES',
      `${directory} ${problem}: a control socket there would not be safe; remove the directory, or name a socket with --socket`,
      { context: { directory } },
    );
  }
  throw new NvbraidError(
    'EACCES',
    `cannot make a directory for the control socket (${directories.join(', ')}); name a socket with --socket`,
    { cause: last },
  );
}

function problemOf(stats: Stats): string | null {
  const uid = process.getuid?.();
  if (!stats.isDirectory()) return 'is not a directory';
  if (uid !== undefined && stats.uid !== uid) return 'belongs to another user';
  if ((stats.mode & 0o022) !== 0) return 'can be written by other users';
  return null;
}
