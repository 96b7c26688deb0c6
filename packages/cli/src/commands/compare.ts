import { eachChunk, sourceLength } from '../block-stream.ts';
import { command } from '../command.ts';
import { ioOptions, requestedBytes } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

export const compare = command({
  name: 'compare',
  summary: 'Compare blocks of a namespace with data',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Compares with all of the data; with --block-count or --data-size with that much of it, filled up with zeroes where there is less. The exit status is 1 when the blocks hold something else.',
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
      let different: string | null = null;
      const bytes = await eachChunk({ namespace, slba, path, length, wanted, stop }, async (first, chunk) => {
        if (different !== null || (await session.compare(nsid, first, chunk))) return;
        different = `blocks ${first} to ${first + chunk.length / blockSize - 1} do not hold this data`;
      });
      const blocks = bytes / blockSize;
      if (options['output-format'] === 'json') terminal.json({ nsid, slba, blocks, equal: different === null });
      else terminal.note(different ?? `${plural(blocks, 'block')} from block ${slba} on hold this data`);
      return different === null ? 0 : 1;
    } finally {
      await session.close();
    }
  },
});
