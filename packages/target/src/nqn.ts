import { NvbraidError } from '@nvbraid/base';
import { MAX_NQN_BYTES } from './limits.ts';

const encoder = new TextEncoder();

/**
 * What is wrong with a qualified name, or null. As in Linux the form `nqn.yyyy-mm.domain:name` is not demanded: test
 * suites and scripts use short names. Length, emptiness and characters that no name can carry are.
 */
export function nqnProblem(nqn: string): string | null {
  if (nqn === '') return 'is empty';
  if (encoder.encode(nqn).length > MAX_NQN_BYTES) return `is longer than ${MAX_NQN_BYTES} bytes`;
  for (let i = 0; i < nqn.length; i++) {
    const code = nqn.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f || code === 0xfffd) return 'contains a space, a control or an invalid character';
  }
  return null;
}

/** Refuses a name given by the configuration. @throws NvbraidError EINVAL */
export function checkNqn(nqn: string, what: string): void {
  const problem = nqnProblem(nqn);
  if (problem !== null)
    throw new NvbraidError('EINVAL', `${what} ${problem}: ${JSON.stringify(nqn)}`, { context: { nqn } });
}
