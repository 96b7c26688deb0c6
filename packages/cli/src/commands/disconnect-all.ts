import { ControlClient } from '@nvbraid/manage';
import { command } from '../command.ts';
import { hostProcesses } from '../process-list.ts';
import { processStatus } from '../process-session.ts';
import { plural } from '../size.ts';

export const disconnectAll = command({
  name: 'disconnect-all',
  summary: 'End all that running nvbraid connect, connect-all and nbd have connected',
  description: ['Each finishes what is under way, and tells its controllers. It is no error when there is none.'],
  options: {},
  examples: [{ line: 'nvbraid disconnect-all', help: 'before the network is taken down' }],
  async run({ terminal }) {
    let controllers = 0;
    let failed = 0;
    for (const process of await hostProcesses()) {
      try {
        const client = await ControlClient.connect(process.socket);
        try {
          const status = await processStatus(client);
          if (status.role !== 'connect') continue;
          await client.call('disconnect');
          controllers += status.controllers.length;
        } finally {
          client.close();
        }
      } catch (error) {
        // One that hangs must not keep the others connected.
        failed++;
        terminal.note(`nvbraid disconnect-all: process ${process.pid}: ${(error as Error).message}`);
      }
    }
    terminal.line(`disconnected ${plural(controllers, 'controller')}`);
    return failed === 0 ? 0 : 1;
  },
});
