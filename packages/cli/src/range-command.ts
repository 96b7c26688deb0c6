import { type Command, command, type Example, type Options, type Values } from './command.ts';
import { checkRange, rangeOptions } from './io-options.ts';
import { chooseNamespace, openSession } from './open-session.ts';
import { outputOptions, sessionOptions } from './options.ts';
import type { Session } from './session.ts';
import { plural } from './size.ts';
import { StopSignal } from './stop-signal.ts';

const ASKS =
  'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.';

/** A command for one range of blocks that moves no data. */
export function rangeCommand<O extends Options>(what: {
  readonly name: string;
  readonly summary: string;
  readonly description: readonly string[];
  /** Besides those of the range and of the session. */
  readonly options: O;
  readonly examples: readonly Example[];
  /** What has been done to the blocks: `verified`. */
  readonly done: string;
  run(session: Session, nsid: number, slba: number, blocks: number, options: Values<O>): Promise<void>;
}): Command {
  return command({
    name: what.name,
    summary: what.summary,
    description: [ASKS, ...what.description],
    options: { ...rangeOptions, ...what.options, ...sessionOptions, ...outputOptions },
    examples: what.examples,
    async run({ options, given, terminal }) {
      using stop = new StopSignal();
      const values = options as Values<typeof rangeOptions & typeof sessionOptions & typeof outputOptions>;
      const session = await openSession(values, given, stop.signal);
      try {
        const namespace = chooseNamespace(session, values['namespace-id']);
        const { nsid, blockSize } = namespace;
        const slba = values['start-block'];
        const blocks = values['block-count'] + 1;
        checkRange(namespace, slba, blocks * blockSize);
        await what.run(session, nsid, slba, blocks, options as unknown as Values<O>);
        if (values['output-format'] === 'json') terminal.json({ nsid, slba, blocks });
        else terminal.note(`${what.done} ${plural(blocks, 'block')} from block ${slba} on`);
      } finally {
        await session.close();
      }
      return 0;
    },
  });
}
