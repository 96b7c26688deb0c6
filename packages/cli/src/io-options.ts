import { NvbraidError } from 'nvbraid';
import type { Options, Values } from './command.ts';
import { namespaceOption, outputOptions, sessionOptions } from './options.ts';
import type { SessionNamespace } from './session.ts';
import { UsageError } from './usage-error.ts';

const startBlock = {
  'start-block': {
    type: 'number',
    value: 'LBA',
    aliases: ['slba'],
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
    help: 'First block',
  },
} as const satisfies Options;

/** One range of blocks, for commands that move no data. */
export const rangeOptions = {
  ...namespaceOption,
  ...startBlock,
  'block-count': {
    type: 'number',
    short: 'c',
    value: 'NUMBER',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    default: 0,
    help: 'Blocks, one less than their number as in nvme-cli',
  },
} as const satisfies Options;

/** Several ranges of blocks. @param counted how --blocks counts */
export function listOptions(counted: string) {
  return {
    ...namespaceOption,
    slbs: { type: 'text', value: 'LBA,...', help: 'First block of each range' },
    blocks: { type: 'text', short: 'b', value: 'NUMBER,...', help: `Blocks of each range, ${counted}` },
  } as const satisfies Options;
}

/** Options of `read`, `write` and `compare`. */
export const ioOptions = {
  ...namespaceOption,
  ...startBlock,
  'block-count': {
    type: 'number',
    short: 'c',
    value: 'NUMBER',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: 'Blocks, one less than their number as in nvme-cli: 0 is one block',
  },
  'data-size': {
    type: 'size',
    short: 'z',
    value: 'BYTES',
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: 'Bytes, instead of --block-count',
  },
  data: {
    type: 'text',
    short: 'd',
    value: 'FILE',
    completes: 'file',
    help: 'File; - or none for standard input or output',
  },
  ...sessionOptions,
  ...outputOptions,
} as const satisfies Options;

export type IoValues = Values<typeof ioOptions>;

/** Bytes that the options ask for; null when they leave it open. @throws UsageError */
export function requestedBytes(options: IoValues, blockSize: number): number | null {
  const blocks = options['block-count'];
  const bytes = options['data-size'];
  if (blocks !== undefined && bytes !== undefined && (blocks + 1) * blockSize !== bytes) {
    throw new UsageError(
      `--block-count ${blocks} means ${(blocks + 1) * blockSize} bytes, --data-size ${bytes}: give one of them`,
    );
  }
  if (blocks !== undefined) return (blocks + 1) * blockSize;
  return bytes ?? null;
}

/** @throws NvbraidError EINVAL when the range is not whole blocks inside the namespace */
export function checkRange(namespace: SessionNamespace, slba: number, bytes: number): void {
  const { blockSize, blockCount, nsid } = namespace;
  if (bytes % blockSize !== 0) {
    throw new NvbraidError(
      'EINVAL',
      `${bytes} bytes are not a multiple of the block size ${blockSize} of namespace ${nsid}`,
    );
  }
  const last = slba + bytes / blockSize - 1;
  if (last >= blockCount) {
    throw new NvbraidError(
      'EINVAL',
      `block ${last} is beyond the end of namespace ${nsid}, whose last block is ${blockCount - 1}`,
    );
  }
}
