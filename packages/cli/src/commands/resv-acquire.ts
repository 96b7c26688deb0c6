import { command } from '../command.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { crkeyOption, iekeyOption, parseKey, reservationOptions, rtypeOption } from '../reservation-options.ts';
import { StopSignal } from '../stop-signal.ts';

export const resvAcquire = command({
  name: 'resv-acquire',
  summary: 'Reserve a namespace, or take it from another host',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'The host must be registered. When a preemption is answered, no command of the host that lost its rights can change a block any more.',
  ],
  options: {
    ...reservationOptions,
    ...crkeyOption,
    prkey: { type: 'text', short: 'p', value: 'KEY', default: '0', help: 'Key of the registrants to preempt' },
    ...rtypeOption,
    racqa: {
      type: 'number',
      value: 'ACTION',
      min: 0,
      max: 7,
      default: 0,
      help: 'What to do: 0 acquires, 1 preempts, 2 preempts and aborts',
    },
    ...iekeyOption,
  },
  examples: [
    { line: 'nvbraid resv-acquire --crkey 0x1234 --rtype 1', help: 'only this host writes' },
    {
      line: 'nvbraid resv-acquire --crkey 0x1234 --prkey 0x5678 --rtype 1 --racqa 1',
      help: 'take it from the host with key 0x5678',
    },
  ],
  async run({ options, given, terminal }) {
    const { racqa, rtype, iekey } = options;
    const keys = { crkey: parseKey('crkey', options.crkey), prkey: parseKey('prkey', options.prkey) };
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      await session.resvAcquire(nsid, { racqa, rtype, iekey, ...keys });
      if (options['output-format'] === 'json') terminal.json({ nsid, racqa, rtype });
      else terminal.line('NVME Reservation Acquire success');
    } finally {
      await session.close();
    }
    return 0;
  },
});
