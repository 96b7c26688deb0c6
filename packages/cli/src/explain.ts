import { NvbraidError, NvmeError } from 'nvbraid';

/** What is printed about an error: one sentence, no stack. */
export function sentence(error: unknown): string {
  if (error instanceof NvmeError && error.cause instanceof NvbraidError)
    return `${error.message}: ${error.cause.message}`;
  if (error instanceof Error) return error.message;
  return String(error);
}

/** The same for machines, as `-o json` prints it. */
export function errorJson(error: unknown): object {
  const code = error instanceof NvbraidError ? error.code : 'EIO';
  const status =
    error instanceof NvmeError
      ? { sct: error.sct, sc: error.sc, dnr: error.dnr, name: error.statusName }
      : remoteStatus(error);
  return { error: { code, message: sentence(error), ...(status === null ? {} : { status }) } };
}

/** An error status that a control socket has passed on. */
function remoteStatus(error: unknown): object | null {
  if (!(error instanceof NvbraidError) || error.code !== 'ENVME') return null;
  const { sct, sc, dnr, name } = error.context;
  return { sct, sc, dnr, ...(name === undefined ? {} : { name }) };
}

/** An error that is ours to fix, not the user's. */
export function isBug(error: unknown): boolean {
  if (error instanceof NvbraidError) return false;
  if (!(error instanceof Error)) return true;
  return (error as NodeJS.ErrnoException).code === undefined || error.name === 'AssertionError';
}
