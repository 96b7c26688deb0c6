import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of the two programs. */
export interface CompiledBaseline {
  readonly target: string;
  readonly load: string;
}

const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror'];

/** Compiles target and load generator into `out`. A string says why it could not be done. */
export function compileBaseline(out = join(import.meta.dirname, 'out')): CompiledBaseline | string {
  if (process.platform !== 'linux') return 'the C baseline uses epoll and runs on Linux only';
  mkdirSync(out, { recursive: true });
  const compiled = { target: join(out, 'target'), load: join(out, 'load') };
  for (const [name, path] of Object.entries(compiled)) {
    const source = join(import.meta.dirname, 'baseline', `${name}.c`);
    const gcc = spawnSync('gcc', [...FLAGS, '-o', path, source], { encoding: 'utf8' });
    if (gcc.error) return 'gcc is not installed: the benchmark compares with a C program and has to compile it';
    if (gcc.status !== 0) return `gcc could not compile ${name}.c:\n${gcc.stderr}`;
  }
  return compiled;
}
