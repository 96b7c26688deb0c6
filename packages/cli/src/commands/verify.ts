import { rangeCommand } from '../range-command.ts';

export const verify = rangeCommand({
  name: 'verify',
  summary: 'Have a controller read blocks and check them',
  description: ['No data is transferred; the command fails when a block cannot be read.'],
  options: {},
  examples: [{ line: 'nvbraid verify --start-block 8 -c 7', help: 'blocks 8 to 15' }],
  done: 'verified',
  run: (session, nsid, slba, blocks) => session.verify(nsid, slba, blocks),
});
