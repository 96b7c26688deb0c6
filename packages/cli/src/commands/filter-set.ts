import { FILTER_KINDS } from '@nvbraid/blockdev';
import type { FilterState } from 'nvbraid';
import { command } from '../command.ts';
import { callServe, namespaceParams, pairs, servedNamespaceOptions, serveOptions } from '../serve-call.ts';
import { filterLines, settingsHelp } from '../setting-text.ts';

const SETTINGS_MAX = 32;

export const filterSet = command({
  name: 'filter-set',
  summary: 'Change a filter of a running nvbraid serve',
  description: [
    'The change holds for every operation that begins afterwards, in every thread. All settings are changed, or none.',
    'The settings are those of serve --filter FILTER, where FILTER is KIND,KEY=VALUE,…; name=NAME tells two of a kind apart.',
    ...FILTER_KINDS.map(({ kind, summary, table }) => settingsHelp(`${kind} (${summary.toLowerCase()})`, table)),
  ],
  options: { ...servedNamespaceOptions, ...serveOptions },
  operands: { value: 'NAME', help: 'Filter, and settings as KEY=VALUE', min: 2, max: SETTINGS_MAX },
  examples: [
    { line: "nvbraid filter set delay 'read=uniform 1ms 20ms'", help: 'slow reads' },
    { line: 'nvbraid filter set error ops=write result=no-space count=3', help: 'the next three writes fail' },
    {
      line: 'nvbraid filter set delay hold=write count=1',
      help: 'hold the next write; filter-run delay release lets it go',
    },
  ],
  async run({ options, operands, terminal }) {
    const [name, ...rest] = operands;
    const params = { ...namespaceParams(options), name, settings: pairs(rest) };
    const state = (await callServe(options.socket, 'filter-set', params)) as FilterState;
    if (options['output-format'] === 'json') terminal.json(state);
    else for (const line of filterLines(state)) terminal.line(line.slice(2));
    return 0;
  },
});
