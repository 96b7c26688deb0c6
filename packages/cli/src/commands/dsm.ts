import { rangesOf } from '../block-list.ts';
import { command } from '../command.ts';
import { listOptions } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

export const dsm = command({
  name: 'dsm',
  summary: 'Deallocate blocks, or tell how they will be used',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'With --ad the blocks are given back. The other attributes are hints, which a controller may ignore.',
  ],
  options: {
    ...listOptions('as a number'),
    ad: { type: 'flag', short: 'd', help: 'Deallocate' },
    idw: { type: 'flag', help: 'They will be written as a whole' },
    idr: { type: 'flag', help: 'They will be read as a whole' },
    ...sessionOptions,
    ...outputOptions,
  },
  examples: [{ line: 'nvbraid dsm --ad --slbs 0,4096 --blocks 2048,8', help: 'gives two ranges back' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const ranges = rangesOf(namespace, options.slbs, options.blocks, false);
      const { nsid } = namespace;
      const { ad, idw, idr } = options;
      await session.datasetManagement(nsid, ranges, { deallocate: ad, write: idw, read: idr });
      if (options['output-format'] === 'json') terminal.json({ nsid, ranges });
      else terminal.note(`${ad ? 'deallocated' : 'told about'} ${plural(ranges.length, 'range')} of blocks`);
    } finally {
      await session.close();
    }
    return 0;
  },
});
