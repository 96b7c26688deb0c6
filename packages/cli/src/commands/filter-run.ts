import { FILTER_KINDS } from '@nvbraid/blockdev';
import type { FilterState } from 'nvbraid';
import { command } from '../command.ts';
import { callServe, namespaceParams, servedNamespaceOptions, serveOptions } from '../serve-call.ts';
import { filterLines } from '../setting-text.ts';

const ACTIONS = FILTER_KINDS.flatMap(({ kind, actions = {} }) =>
  Object.keys(actions).map((action) => `${kind} ${action}`),
).join(', ');

export const filterRun = command({
  name: 'filter-run',
  summary: 'Tell a filter of a running nvbraid serve to do something',
  description: [`There are: ${ACTIONS}.`],
  options: { ...servedNamespaceOptions, ...serveOptions },
  operands: { value: 'WORD', help: 'Name of the filter, then the action', min: 2, max: 2 },
  examples: [{ line: 'nvbraid filter run delay release', help: 'what is held and delayed goes on' }],
  async run({ options, operands, terminal }) {
    const [name, action] = operands;
    const params = { ...namespaceParams(options), name, action };
    const state = (await callServe(options.socket, 'filter-run', params)) as FilterState;
    if (options['output-format'] === 'json') terminal.json(state);
    else for (const line of filterLines(state)) terminal.line(line.slice(2));
    return 0;
  },
});
