import { NvbraidError, NvmeError } from 'nvbraid';
import { type Address, formatAddress } from './association.ts';

/** sct 1: command specific; of Connect (Base 2.1, 6.3). */
const CONNECT_INVALID_PARAMETERS = 0x182;
const CONNECT_INVALID_HOST = 0x184;
const STATUS_MASK = 0x7ff;

/** Adds the way out to what can go wrong when one connects. */
export async function advised<T>(
  address: Omit<Address, 'nqn'> & { readonly nqn?: string },
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const advice = adviceFor(error, address);
    throw advice === null ? error : advice;
  }
}

function adviceFor(error: unknown, address: Omit<Address, 'nqn'> & { readonly nqn?: string }): NvbraidError | null {
  if (!(error instanceof NvbraidError)) return null;
  const { traddr, trsvcid, nqn } = address;
  const where = formatAddress(traddr, trsvcid);
  if (error instanceof NvmeError) {
    const status = error.status & STATUS_MASK;
    if (status === CONNECT_INVALID_PARAMETERS && nqn !== undefined) {
      return withAdvice(
        error,
        `does ${where} have ${nqn}? nvbraid discover -a ${traddr} -s ${trsvcid} lists what it has`,
      );
    }
    if (status === CONNECT_INVALID_HOST) {
      return withAdvice(error, 'the target does not allow this host; choose a host NQN that it allows with -q');
    }
    return null;
  }
  if (error.code === 'ECONNREFUSED') {
    return withAdvice(error, 'start a target there, or check -a and -s');
  }
  if (error.code === 'ETIMEDOUT' || error.code === 'EHOSTUNREACH') {
    return withAdvice(error, 'check -a and -s, and that no firewall is in between');
  }
  return null;
}

/** The same error, code and status included, with more words. */
function withAdvice(error: NvbraidError, advice: string): NvbraidError {
  error.message = `${error.message}; ${advice}`;
  return error;
}
