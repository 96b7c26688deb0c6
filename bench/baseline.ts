import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of the two programs. */
export interface CompiledBaseline {
  readonly target: string;
  readonly load: string;
}

const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra'];
const SOURCES = { target: ['target.c', 'target-admin.c'], load: ['load.c', 'handshake.c', 'load-tools.c'] };

/** Compiles target and load generator into `out`. A string says why it could not be done. */
export function compileBaseline(out = join(import.meta.dirname, 'out'), flags = FLAGS): CompiledBaseline | string {
  if (process.platform !== 'linux') return 'the C baseline uses epoll and runs on Linux only';
  mkdirSync(out, { recursive: true });
  const compiled = { target: join(out, 'target'), load: join(out, 'load') };
  for (const name of ['target', 'load'] as const) {
    const sources = SOURCES[name].map((source) => join(import.meta.dirname, 'baseline', source));
    const gcc = spawnSync('gcc', [...flags, '-o', compiled[name], ...sources], { encoding: 'utf8' });
    if (gcc.error) return 'gcc is not installed: the benchmark compares with a C program and has to compile it';
    if (gcc.status !== 0) return `gcc could not compile the baseline (${name}):\n${gcc.stderr}`;
  }
  return compiled;
}
