import { ControlClient, runningProcesses } from '@nvbraid/manage';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { onlyProcess } from '../open-session.ts';
import { processOptions } from '../options.ts';
import { processStatus } from '../process-session.ts';
import { plural } from '../size.ts';

export const disconnect = command({
  name: 'disconnect',
  summary: 'End what a running nvbraid connect has connected',
  description: ['The process finishes what is under way, tells the controller, and exits.'],
  options: {
    nqn: { type: 'text', short: 'n', value: 'NQN', help: 'Every connection to this subsystem' },
    ...processOptions,
  },
  examples: [{ line: 'nvbraid disconnect -n nqn.2026-01.io.nvbraid:box:disk', help: 'by the name of the subsystem' }],
  async run({ options, terminal }) {
    const { nqn } = options;
    const sockets =
      options.socket !== undefined
        ? [options.socket]
        : nqn === undefined
          ? [await onlyProcess('connect')]
          : (await runningProcesses()).filter((process) => process.role === 'connect').map((process) => process.socket);
    let count = 0;
    for (const path of sockets) count += await disconnectOne(path, nqn);
    if (count === 0) throw new NvbraidError('ENOENT', `no nvbraid connect here is connected to ${nqn}`);
    terminal.line(`${nqn === undefined ? '' : `NQN:${nqn} `}disconnected ${plural(count, 'controller')}`);
    return 0;
  },
});

/** Answers how many controllers it disconnected. */
async function disconnectOne(path: string, nqn: string | undefined): Promise<number> {
  const client = await ControlClient.connect(path);
  try {
    const status = await processStatus(client);
    if (status.role !== 'connect') {
      throw new NvbraidError('EINVAL', `process ${status.pid} is nvbraid serve; stop it with Ctrl-C or SIGTERM`);
    }
    if (nqn !== undefined && status.address.nqn !== nqn) return 0;
    await client.call('disconnect');
    return 1;
  } finally {
    client.close();
  }
}
