import { eachChunk, sourceLength } from '../block-stream.ts';
import { command } from '../command.ts';
import { type Difference, firstDifference } from '../first-difference.ts';
import { ioOptions, requestedBytes } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

export const compare = command({
  name: 'compare',
  summary: 'Compare blocks of a namespace with data',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Compares with all of the data; with --block-count or --data-size with that much of it, filled up with zeroes where there is less. It ends at the first block that holds something else, which it names, with exit status 1.',
  ],
  options: ioOptions,
  examples: [{ line: 'nvbraid compare -a 192.168.0.7 --data disk.img', help: 'has the target compare a whole image' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const path = options.data === undefined || options.data === '-' ? null : options.data;
    const length = await sourceLength(path);
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const { nsid, blockSize } = namespace;
      const slba = options['start-block'];
      const wanted = requestedBytes(options, blockSize);
      let different: Difference | null = null;
      const bytes = await eachChunk({ namespace, slba, path, length, wanted, stop }, async (first, chunk) => {
        different = await firstDifference(session, namespace, first, chunk);
        return different === null;
      });
      const blocks = different === null ? bytes / blockSize : (different as Difference).block - slba;
      if (options['output-format'] === 'json') {
        terminal.json({ nsid, slba, blocks, equal: different === null, ...(different ?? {}) });
      } else terminal.note(different === null ? holds(blocks, slba) : differs(different, slba, blockSize));
      return different === null ? 0 : 1;
    } finally {
      await session.close();
    }
  },
});

function holds(blocks: number, slba: number): string {
  return `${plural(blocks, 'block')} from block ${slba} on hold this data`;
}

function differs({ block, byte }: Difference, slba: number, blockSize: number): string {
  const where = `block ${block} is the first that does not hold this data`;
  return byte === null ? where : `${where}: byte ${(block - slba) * blockSize + byte} of the data is another one`;
}
