import { rangesOf } from '../block-list.ts';
import { command } from '../command.ts';
import { checkRange, listOptions } from '../io-options.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';
import { plural } from '../size.ts';
import { StopSignal } from '../stop-signal.ts';

export const copy = command({
  name: 'copy',
  summary: 'Have a controller copy blocks within a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'The ranges are put one after the other, from --sdlba on. They must not overlap where they are copied to.',
  ],
  options: {
    ...listOptions('one less than their number as in nvme-cli'),
    sdlba: {
      type: 'number',
      short: 'd',
      value: 'LBA',
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      default: 0,
      help: 'First block to copy to',
    },
    'force-unit-access': { type: 'flag', help: 'On stable storage when the command returns' },
    ...sessionOptions,
    ...outputOptions,
  },
  examples: [{ line: 'nvbraid copy --slbs 0,100 --blocks 7,0 --sdlba 1000', help: 'nine blocks, from two ranges' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const namespace = chooseNamespace(session, options['namespace-id']);
      const ranges = rangesOf(namespace, options.slbs, options.blocks, true);
      const blocks = ranges.reduce((sum, range) => sum + range.blocks, 0);
      const { nsid, blockSize } = namespace;
      checkRange(namespace, options.sdlba, blocks * blockSize);
      await session.copy(nsid, ranges, options.sdlba, options['force-unit-access']);
      if (options['output-format'] === 'json') terminal.json({ nsid, sdlba: options.sdlba, blocks });
      else terminal.note(`copied ${plural(blocks, 'block')} to block ${options.sdlba} and on`);
    } finally {
      await session.close();
    }
    return 0;
  },
});
