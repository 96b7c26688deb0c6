import { splitPairs } from '@nvbraid/base';
import { call, type Params } from '@nvbraid/manage';
import { NvbraidError } from 'nvbraid';
import type { Options } from './command.ts';
import { onlyProcess } from './open-session.ts';
import { namespaceOption, outputOptions } from './options.ts';
import { UsageError } from './usage-error.ts';

/** Options of the commands that change a running `nvbraid serve`. */
export const serveOptions = {
  socket: {
    type: 'text',
    value: 'PATH',
    env: 'NVBRAID_SOCKET',
    completes: 'file',
    help: 'Control socket of a running nvbraid serve; else the only one',
  },
  ...outputOptions,
} as const satisfies Options;

/** Which of its namespaces. */
export const servedNamespaceOptions = {
  nqn: { type: 'text', short: 'n', value: 'NQN', help: 'Subsystem; may be left out where only one is meant' },
  ...namespaceOption,
} as const satisfies Options;

/** Calls a method of the process that is meant. @throws NvbraidError with what it answers */
export async function callServe(socket: string | undefined, method: string, params: Params = {}): Promise<unknown> {
  return call(socket ?? (await onlyProcess('serve')), method, params);
}

export function namespaceParams(options: { nqn?: string | undefined; 'namespace-id'?: number | undefined }): Params {
  const { nqn, 'namespace-id': nsid } = options;
  return { ...(nqn === undefined ? {} : { nqn }), ...(nsid === undefined ? {} : { nsid }) };
}

/** KEY=VALUE words of a command line. @throws UsageError */
export function pairs(words: readonly string[]): Record<string, string> {
  try {
    return splitPairs(words);
  } catch (error) {
    if (error instanceof NvbraidError) throw new UsageError(error.message);
    throw error;
  }
}
