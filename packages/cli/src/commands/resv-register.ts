import { command } from '../command.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { crkeyOption, iekeyOption, parseKey, reservationOptions } from '../reservation-options.ts';
import { StopSignal } from '../stop-signal.ts';

export const resvRegister = command({
  name: 'resv-register',
  summary: 'Register this host with a namespace, for reservations',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'A registration belongs to the host identifier (--hostid), not to the association: it stays when the command ends.',
  ],
  options: {
    ...reservationOptions,
    ...crkeyOption,
    nrkey: { type: 'text', value: 'KEY', default: '0', help: 'New reservation key' },
    rrega: {
      type: 'number',
      short: 'r',
      value: 'ACTION',
      min: 0,
      max: 7,
      default: 0,
      help: 'What to do: 0 registers, 1 unregisters, 2 replaces the key',
    },
    cptpl: {
      type: 'number',
      short: 'p',
      value: 'NUMBER',
      min: 0,
      max: 3,
      default: 0,
      help: 'Persist through power loss: 0 leaves it as it is, 2 ends it, 3 begins it',
    },
    ...iekeyOption,
  },
  examples: [
    { line: 'nvbraid resv-register --nrkey 0x1234 --cptpl 3', help: 'register, also beyond a restart of the target' },
    { line: 'nvbraid resv-register --crkey 0x1234 --rrega 1', help: 'unregister' },
  ],
  async run({ options, given, terminal }) {
    const { rrega, cptpl, iekey } = options;
    const keys = { crkey: parseKey('crkey', options.crkey), nrkey: parseKey('nrkey', options.nrkey) };
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      await session.resvRegister(nsid, { rrega, cptpl, iekey, ...keys });
      if (options['output-format'] === 'json') terminal.json({ nsid, rrega, cptpl });
      else terminal.line('NVME Reservation  success');
    } finally {
      await session.close();
    }
    return 0;
  },
});
