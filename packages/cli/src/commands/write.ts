import { eachChunk, sourceLength } from '../block-stream.ts';
import { command } from '../command.ts';
import { ioOptions, requestedBytes } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

const { 'output-format': outputFormat, ...options } = ioOptions;

export const write = command({
  name: 'write',
  summary: 'Write blocks of a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Writes all of the data; with --block-count or --data-size that much of it, filled up with zeroes where there is less. The data is on stable storage when the command returns.',
  ],
  options: {
    ...options,
    'force-unit-access': { type: 'flag', help: 'Write with FUA instead of flushing at the end' },
    'output-format': outputFormat,
  },
  examples: [
    { line: 'echo hello | nvbraid write --start-block 8 --block-count 0', help: 'one block, filled up with zeroes' },
    { line: 'nvbraid write -a 192.168.0.7 --data disk.img', help: 'a whole image' },
  ],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const path = options.data === undefined || options.data === '-' ? null : options.data;
    const length = await sourceLength(path);
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const { nsid, blockSize } = namespace;
      const slba = options['start-block'];
      const fua = options['force-unit-access'];
      const wanted = requestedBytes(options, blockSize);
      const bytes = await eachChunk({ namespace, slba, path, length, wanted, stop }, (first, chunk) =>
        session.write(nsid, first, chunk, fua),
      );
      if (!fua) await session.flush(nsid);
      const blocks = bytes / blockSize;
      if (options['output-format'] === 'json') terminal.json({ nsid, slba, blocks });
      else terminal.note(`wrote ${plural(blocks, 'block')} (${bytes} bytes) from block ${slba} on`);
    } finally {
      await session.close();
    }
    return 0;
  },
});
