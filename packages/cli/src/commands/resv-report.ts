import { RESERVATION_TYPE_NAMES } from '@nvbraid/wire';
import { command } from '../command.ts';
import { exact } from '../exact-json.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { verboseOption } from '../options.ts';
import { reservationOptions } from '../reservation-options.ts';
import { StopSignal } from '../stop-signal.ts';

export const resvReport = command({
  name: 'resv-report',
  summary: 'Print who has registered with a namespace and what is reserved',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Field names and layout are those of nvme-cli; -v adds what values mean.',
  ],
  options: {
    ...reservationOptions,
    eds: {
      type: 'flag',
      short: 'e',
      help: 'Ask for the extended data structure only; else for the other one where the controller has that',
    },
    ...verboseOption,
  },
  examples: [{ line: 'nvbraid resv-report -o json', help: 'for a script' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      const { gen, rtype, regctl, ptpls, registrants } = await session.resvReport(nsid, options.eds);
      const extended = registrants.every(({ hostid }) => hostid.length !== 16);
      if (options['output-format'] === 'json') {
        const list = registrants.map(({ cntlid, holder, rkey, hostid }) => ({
          cntlid,
          rcsts: holder ? 1 : 0,
          rkey: exact(rkey),
          hostid: digits(hostid),
        }));
        terminal.json({ gen, rtype, regctl, ptpls, [extended ? 'regctlext' : 'regctls']: list });
        return 0;
      }
      const named = options.verbose > 0 && rtype !== 0 ? ` (${RESERVATION_TYPE_NAMES[rtype] ?? 'reserved'})` : '';
      terminal.line('NVME Reservation status:');
      terminal.line('');
      terminal.line(`gen       : ${gen}`);
      terminal.line(`rtype     : ${rtype}${named}`);
      terminal.line(`regctl    : ${regctl}`);
      terminal.line(`ptpls     : ${ptpls}`);
      registrants.forEach(({ cntlid, holder, rkey, hostid }, i) => {
        terminal.line(`${extended ? 'regctlext' : 'regctl'}[${i}] :`);
        terminal.line(`  cntlid     : ${cntlid.toString(16)}`);
        terminal.line(
          `  rcsts      : ${holder ? 1 : 0}${options.verbose > 0 && holder ? ' (holds the reservation)' : ''}`,
        );
        terminal.line(`  rkey       : ${rkey.toString(16)}`);
        terminal.line(`  hostid     : ${digits(hostid)}`);
      });
    } finally {
      await session.close();
    }
    return 0;
  },
});

function digits(hostid: string): string {
  return hostid.replaceAll('-', '');
}
