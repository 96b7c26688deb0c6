import { ZoneState } from '@nvbraid/wire';
import type { ZoneStateName } from 'nvbraid';
import { command } from '../command.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { namespaceOption, outputOptions, sessionOptions } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';
import { ASKS } from '../zone-command.ts';
import type { ZoneEntry } from '../zoned-session.ts';

/** As nvme-cli prints states. */
const STATE_TEXT: Readonly<Record<number, string>> = {
  [ZoneState.Empty]: 'EMPTY',
  [ZoneState.ImplicitlyOpened]: 'IMP_OPENED',
  [ZoneState.ExplicitlyOpened]: 'EXP_OPENED',
  [ZoneState.Closed]: 'CLOSED',
  [ZoneState.ReadOnly]: 'READONLY',
  [ZoneState.Full]: 'FULL',
  [ZoneState.Offline]: 'OFFLINE',
};
const TYPE_TEXT = 'SEQWRITE_REQ';
/** Reporting options by the number that nvme-cli takes. */
const STATES: readonly (ZoneStateName | null)[] = [
  null,
  'Empty',
  'ImplicitlyOpened',
  'ExplicitlyOpened',
  'Closed',
  'Full',
  'ReadOnly',
  'Offline',
];

export const znsReportZones = command({
  name: 'zns-report-zones',
  summary: 'Print the zones of a namespace',
  description: [ASKS, 'Blocks and numbers are hexadecimal, as in nvme-cli; JSON has them decimal.'],
  options: {
    ...namespaceOption,
    'start-lba': {
      type: 'number',
      value: 'LBA',
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      default: 0,
      help: 'Zones from the one on that this block is in',
    },
    descs: { type: 'number', short: 'd', value: 'NUMBER', min: 1, max: 0xffffffff, help: 'At most so many zones' },
    state: {
      type: 'number',
      value: 'NUMBER',
      min: 0,
      max: 7,
      default: 0,
      help: 'Only zones that are 1 empty, 2 implicitly opened, 3 explicitly opened, 4 closed, 5 full, 6 read only, 7 offline',
    },
    ...sessionOptions,
    ...outputOptions,
  },
  examples: [{ line: 'nvbraid zns report-zones -d 16', help: 'the first sixteen' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    let zones: ZoneEntry[];
    try {
      const { nsid } = chooseNamespace(session, options['namespace-id']);
      zones = await session.zoned.zoneReport(nsid, {
        slba: options['start-lba'],
        state: STATES[options.state]!,
        limit: options.descs ?? null,
      });
    } finally {
      await session.close();
    }
    if (options['output-format'] === 'json') {
      const list = zones.map((zone) => ({ ...zone, state: STATE_TEXT[zone.state], type: TYPE_TEXT }));
      terminal.json({ nr_zones: zones.length, zone_list: list });
      return 0;
    }
    terminal.line(`nr_zones: ${zones.length}`);
    for (const { slba, wp, cap, state, attrs } of zones) {
      const pointer = wp === null ? '0xffffffffffffffff' : hex(wp);
      terminal.line(
        `SLBA: ${hex(slba).padEnd(10)} WP: ${pointer.padEnd(10)} Cap: ${hex(cap).padEnd(10)} ` +
          `State: ${STATE_TEXT[state]!.padEnd(12)} Type: ${TYPE_TEXT} Attrs: ${hex(attrs)}`,
      );
    }
    return 0;
  },
});

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
