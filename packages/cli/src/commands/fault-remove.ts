import { command } from '../command.ts';
import { callServe, serveOptions } from '../serve-call.ts';
import { UsageError } from '../usage-error.ts';

const IDS_MAX = 64;

export const faultRemove = command({
  name: 'fault-remove',
  summary: 'Remove faults from a running nvbraid serve',
  description: ['What they hold back goes on, and what they have changed is changed back.'],
  options: serveOptions,
  operands: { value: 'ID', help: 'Number of a fault, as fault-list shows it', min: 1, max: IDS_MAX },
  examples: [{ line: 'nvbraid fault remove 3', help: 'the one with the number 3' }],
  async run({ options, operands, terminal }) {
    const ids = operands.map((text) => {
      if (!/^\d{1,9}$/.test(text)) throw new UsageError(`'${text}' is not the number of a fault`);
      return Number(text);
    });
    for (const id of ids) await callServe(options.socket, 'fault-remove', { id });
    if (options['output-format'] === 'json') terminal.json({ removed: ids });
    return 0;
  },
});
