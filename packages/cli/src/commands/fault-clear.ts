import { command } from '../command.ts';
import { callServe, serveOptions } from '../serve-call.ts';
import { plural } from '../size.ts';

export const faultClear = command({
  name: 'fault-clear',
  summary: 'Remove all faults from a running nvbraid serve',
  description: ['What they hold back goes on, and what they have changed is changed back.'],
  options: serveOptions,
  examples: [{ line: 'nvbraid fault clear', help: 'the wire is whole again' }],
  async run({ options, terminal }) {
    const answer = (await callServe(options.socket, 'fault-clear')) as { removed: number };
    if (options['output-format'] === 'json') terminal.json(answer);
    else terminal.line(`removed ${plural(answer.removed, 'fault')}`);
    return 0;
  },
});
