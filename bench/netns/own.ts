import { type ChildProcess, execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A step failed; the message is a sentence for the user. */
export class NetnsError extends Error {}

/* What this process has made and must not leave behind, however it ends. */
const children = new Set<ChildProcess>();
const namespaces = new Set<string>();
const directories = new Set<string>();

let watching = false;

/** Ends what still runs and removes what was made. Also done when the process ends, by itself or by a signal. */
export function cleanUp(): void {
  for (const child of children) child.kill('SIGKILL');
  for (const name of namespaces) spawnSync('ip', ['netns', 'delete', name]);
  for (const path of directories) rmSync(path, { recursive: true, force: true });
  children.clear();
  namespaces.clear();
  directories.clear();
}

function watch(): void {
  if (watching) return;
  watching = true;
  process.on('exit', cleanUp);
}

/** Ctrl-C and SIGTERM clean up, too. */
export function endOnSignals(): void {
  watch();
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => process.exit(code));
  }
}

export function remember(child: ChildProcess): void {
  watch();
  children.add(child);
  child.once('exit', () => children.delete(child));
}

export function scratchDirectory(): string {
  watch();
  const path = mkdtempSync(join(tmpdir(), 'nvbraid-netns-'));
  directories.add(path);
  return path;
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
  directories.delete(path);
}

/** Runs a program to its end and answers what it printed. @throws NetnsError with what it complained about */
export function tool(file: string, ...args: readonly string[]): Promise<string> {
  return run(file, args, null);
}

/** Runs many commands of `ip` or `tc` in one process. @throws NetnsError with the first that failed */
export async function batch(
  file: 'ip' | 'tc',
  namespace: string,
  commands: readonly (readonly string[])[],
): Promise<void> {
  const lines = commands.map((words) => words.join(' '));
  try {
    await run(file, ['-n', namespace, '-batch', '-'], `${lines.join('\n')}\n`);
  } catch (error) {
    if (!(error instanceof NetnsError)) throw error;
    const number = /Command failed -:(\d+)/.exec(error.message)?.[1];
    if (number === undefined) throw error;
    const why = error.message.replace(/^.*?-batch -: /s, '').replace(/\s*Command failed.*/s, '');
    throw new NetnsError(`${file} -n ${namespace} ${lines[Number(number) - 1]}: ${why}`);
  }
}

function run(file: string, args: readonly string[], input: string | null): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(file, args, { encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const why = stderr.trim() || error.message;
      reject(new NetnsError(`${[file, ...args].join(' ')}: ${why}`));
    });
    remember(child);
    // A program that ends without having read it all tells why by itself.
    child.stdin!.on('error', () => {});
    child.stdin!.end(input ?? '');
  });
}

export async function addNamespace(name: string): Promise<void> {
  watch();
  namespaces.add(name);
  await tool('ip', 'netns', 'add', name);
}

export async function deleteNamespace(name: string): Promise<void> {
  await tool('ip', 'netns', 'delete', name);
  namespaces.delete(name);
}
