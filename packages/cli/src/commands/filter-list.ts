import type { FilterState } from 'nvbraid';
import { command } from '../command.ts';
import { callServe, namespaceParams, servedNamespaceOptions, serveOptions } from '../serve-call.ts';
import { filterLines } from '../setting-text.ts';

interface ServedFilters {
  readonly nqn: string;
  readonly nsid: number;
  readonly filters: readonly FilterState[];
}

export const filterList = command({
  name: 'filter-list',
  summary: 'List the filters of the namespaces of a running nvbraid serve',
  description: ['Shows settings, and what filters have counted and measured. The first is nearest to the host.'],
  options: { ...servedNamespaceOptions, ...serveOptions },
  examples: [{ line: 'nvbraid filter list --nsid 1 -o json', help: 'latencies, for a script' }],
  async run({ options, terminal }) {
    const all = (await callServe(options.socket, 'filter-list', namespaceParams(options))) as ServedFilters[];
    if (options['output-format'] === 'json') {
      terminal.json(all);
      return 0;
    }
    for (const { nqn, nsid, filters } of all) {
      terminal.line(`namespace ${nsid} of ${nqn}${filters.length === 0 ? ': no filter' : ''}`);
      for (const filter of filters) for (const line of filterLines(filter)) terminal.line(line);
    }
    return 0;
  },
});
