export const NQN = 'nqn.2026-01.io.github.nvbraid:soak';
export const BLOCK_SIZE = 4096;
/** Bytes of each namespace. */
export const NAMESPACE_BYTES = 16 << 20;
