export { COMMANDS } from './command-table.ts';
export { main, run } from './main.ts';
export { Terminal } from './terminal.ts';
