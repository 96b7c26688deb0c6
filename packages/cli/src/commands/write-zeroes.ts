import { rangeCommand } from '../range-command.ts';

export const writeZeroes = rangeCommand({
  name: 'write-zeroes',
  summary: 'Make blocks read as zeroes',
  description: ['No data is transferred.'],
  options: {
    deac: { type: 'flag', short: 'd', help: 'The controller may give the space back' },
    'force-unit-access': { type: 'flag', help: 'On stable storage when the command returns' },
  },
  examples: [{ line: 'nvbraid write-zeroes --start-block 0 -c 2047 --deac', help: 'the first 2048 blocks' }],
  done: 'zeroed',
  run: (session, nsid, slba, blocks, options) =>
    session.writeZeroes(nsid, slba, blocks, options.deac, options['force-unit-access']),
});
