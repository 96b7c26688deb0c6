import { command } from '../command.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { namespaceOption, outputOptions, sessionOptions } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';

export const flush = command({
  name: 'flush',
  summary: 'Make stable what was written to a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
  ],
  options: { ...namespaceOption, ...sessionOptions, ...outputOptions },
  examples: [{ line: 'nvbraid flush --namespace-id 1', help: 'namespace 1' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      await session.flush(nsid);
      if (options['output-format'] === 'json') terminal.json({ nsid });
      else terminal.note(`flushed namespace ${nsid}`);
    } finally {
      await session.close();
    }
    return 0;
  },
});
