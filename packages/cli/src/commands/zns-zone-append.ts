import { readFileSync } from 'node:fs';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { fileProblem } from '../file-error.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { namespaceOption, outputOptions, sessionOptions } from '../options.ts';
import { CHUNK_BYTES } from '../session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';
import { UsageError } from '../usage-error.ts';
import { ASKS } from '../zone-command.ts';

export const znsZoneAppend = command({
  name: 'zns-zone-append',
  summary: 'Append data to a zone',
  description: [
    ASKS,
    'One Zone Append: the data goes to the write pointer as a whole, and the command says where that was. It is filled up with zeroes to whole blocks only when --data-size says so. On stable storage when the command returns.',
  ],
  options: {
    ...namespaceOption,
    zslba: {
      type: 'number',
      value: 'LBA',
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      help: 'First block of the zone',
    },
    data: { type: 'text', short: 'd', value: 'FILE', completes: 'file', help: 'File; - or none for standard input' },
    'data-size': { type: 'size', short: 'z', value: 'BYTES', min: 1, max: CHUNK_BYTES, help: 'Bytes of the data' },
    ...sessionOptions,
    ...outputOptions,
  },
  examples: [{ line: 'echo hello | nvbraid zns zone-append --zslba 0 -z 4096', help: 'one block of 4096 bytes' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const { zslba } = options;
    if (zslba === undefined) throw new UsageError('--zslba is missing: the first block of the zone');
    const bytes = dataOf(options.data, options['data-size']);
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid, blockSize } = chooseNamespace(session, options['namespace-id']);
      if (bytes.length % blockSize !== 0) {
        const up = Math.ceil(bytes.length / blockSize) * blockSize;
        throw new NvbraidError(
          'EINVAL',
          `the data has ${bytes.length} bytes, not a multiple of the block size ${blockSize}; --data-size ${up} fills it up with zeroes`,
        );
      }
      const slba = await session.zoned.zoneAppend(nsid, zslba, bytes, true);
      const blocks = bytes.length / blockSize;
      if (options['output-format'] === 'json') terminal.json({ nsid, zslba, slba, blocks });
      else terminal.note(`appended ${plural(blocks, 'block')} at block ${slba}`);
    } finally {
      await session.close();
    }
    return 0;
  },
});

/** The data, filled up with zeroes or cut to `size`. @throws NvbraidError */
function dataOf(path: string | undefined, size: number | undefined): Uint8Array {
  let found: Uint8Array;
  try {
    found = readFileSync(path === undefined || path === '-' ? 0 : path);
  } catch (error) {
    throw new NvbraidError('EIO', `cannot read ${path ?? 'standard input'}: ${fileProblem(error)}`, { cause: error });
  }
  const length = size ?? found.length;
  if (length === 0) throw new NvbraidError('EINVAL', 'there is no data');
  if (length > CHUNK_BYTES) {
    throw new NvbraidError('EINVAL', `one append takes ${CHUNK_BYTES} bytes at most, there are ${length}`);
  }
  const bytes = new Uint8Array(length);
  bytes.set(found.subarray(0, length));
  return bytes;
}
