import type { FaultState } from 'nvbraid';
import { command } from '../command.ts';
import { callServe, serveOptions } from '../serve-call.ts';
import { faultLine } from '../setting-text.ts';

export const faultList = command({
  name: 'fault-list',
  summary: 'List the faults of a running nvbraid serve, and what they have hit',
  description: ['Shows each rule with its seed, so that the same can be added again.'],
  options: serveOptions,
  examples: [{ line: 'nvbraid fault list -o json', help: 'for a script' }],
  async run({ options, terminal }) {
    const faults = (await callServe(options.socket, 'fault-list')) as FaultState[];
    if (options['output-format'] === 'json') terminal.json(faults);
    else if (faults.length === 0) terminal.note('There is no fault.');
    else for (const fault of faults) terminal.line(faultLine(fault));
    return 0;
  },
});
