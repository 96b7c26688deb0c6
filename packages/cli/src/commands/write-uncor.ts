import { rangeCommand } from '../range-command.ts';

export const writeUncor = rangeCommand({
  name: 'write-uncor',
  summary: 'Mark blocks uncorrectable',
  description: ['They cannot be read, also after a restart of the target, until they are written again.'],
  options: {},
  examples: [{ line: 'nvbraid write-uncor --start-block 8 -c 0', help: 'block 8' }],
  done: 'marked',
  run: (session, nsid, slba, blocks) => session.writeUncorrectable(nsid, slba, blocks),
});
