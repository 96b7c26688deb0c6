import { command } from '../command.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { crkeyOption, iekeyOption, parseKey, reservationOptions, rtypeOption } from '../reservation-options.ts';
import { StopSignal } from '../stop-signal.ts';

export const resvRelease = command({
  name: 'resv-release',
  summary: 'Give a reservation up, or clear all of a namespace',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'A host that holds nothing succeeds without effect. Clearing also ends the registrations of all hosts.',
  ],
  options: {
    ...reservationOptions,
    ...crkeyOption,
    ...rtypeOption,
    rrela: {
      type: 'number',
      value: 'ACTION',
      min: 0,
      max: 7,
      default: 0,
      help: 'What to do: 0 releases, 1 clears',
    },
    ...iekeyOption,
  },
  examples: [
    { line: 'nvbraid resv-release --crkey 0x1234 --rtype 1', help: 'the type must be the one that is held' },
    { line: 'nvbraid resv-release --crkey 0x1234 --rrela 1', help: 'no reservation and no registrant is left' },
  ],
  async run({ options, given, terminal }) {
    const { rrela, rtype, iekey } = options;
    const crkey = parseKey('crkey', options.crkey);
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      await session.resvRelease(nsid, { rrela, rtype, iekey, crkey });
      if (options['output-format'] === 'json') terminal.json({ nsid, rrela, rtype });
      else terminal.line('NVME Reservation Release success');
    } finally {
      await session.close();
    }
    return 0;
  },
});
