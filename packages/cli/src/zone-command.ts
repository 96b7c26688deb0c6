import { type Command, command, type Options } from './command.ts';
import { chooseNamespace, openSession } from './open-session.ts';
import { namespaceOption, outputOptions, sessionOptions } from './options.ts';
import { StopSignal } from './stop-signal.ts';
import { UsageError } from './usage-error.ts';
import type { ZoneAction } from './zoned-session.ts';

export const ASKS =
  'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.';

export const startLbaOption = {
  'start-lba': {
    type: 'number',
    value: 'LBA',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: 'First block of the zone',
  },
} as const satisfies Options;

/** A Zone Management Send, named as in the zns plugin of nvme-cli. */
export function zoneCommand(
  action: ZoneAction,
  summary: string,
  all: string,
  done: string,
  description: readonly string[] = [],
): Command {
  return command({
    name: `zns-${action}-zone`,
    summary,
    description: [ASKS, ...description],
    options: {
      ...namespaceOption,
      ...startLbaOption,
      'select-all': { type: 'flag', help: all },
      ...sessionOptions,
      ...outputOptions,
    },
    examples: [{ line: `nvbraid zns ${action}-zone --start-lba 0x8000`, help: 'one zone' }],
    async run({ options, given, terminal }) {
      using stop = new StopSignal();
      const slba = options['start-lba'];
      const selectAll = options['select-all'];
      if (selectAll && slba !== undefined) throw new UsageError('--select-all and --start-lba exclude each other');
      if (!selectAll && slba === undefined) throw new UsageError('--start-lba is missing: the first block of the zone');
      const session = await openSession(options, given, stop.signal);
      try {
        const { nsid } = chooseNamespace(session, options['namespace-id']);
        const zone = selectAll ? 'all' : slba!;
        await session.zoned.zoneAction(nsid, action, zone);
        if (options['output-format'] === 'json') terminal.json({ nsid, action, zone });
        else terminal.note(`${done} ${zone === 'all' ? 'all zones that it is for' : `the zone at block ${zone}`}`);
      } finally {
        await session.close();
      }
      return 0;
    },
  });
}
