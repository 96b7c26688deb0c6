/** A broken promise inside our own code. Never thrown for what a peer or a user did. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Kept on in production: a programmer error must stop the command, not corrupt a block. */
export function assert(condition: unknown, message = 'assertion failed'): asserts condition {
  if (!condition) throw new AssertionError(message);
}

export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
