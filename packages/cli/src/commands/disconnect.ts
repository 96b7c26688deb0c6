import { ControlClient } from '@nvbraid/manage';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { controllerName } from '../device-name.ts';
import { onlyProcess } from '../open-session.ts';
import { outputOptions, processOptions } from '../options.ts';
import { hostProcesses } from '../process-list.ts';
import { processStatus } from '../process-session.ts';
import { plural } from '../size.ts';
import { UsageError } from '../usage-error.ts';

export const disconnect = command({
  name: 'disconnect',
  summary: 'End what a running nvbraid connect has connected',
  description: [
    'The process finishes what is under way, tells the controllers, and exits. With -d one controller of several is disconnected: its path goes, the process and the other paths stay.',
  ],
  options: {
    nqn: { type: 'text', short: 'n', value: 'NQN', help: 'Every connection to this subsystem' },
    device: {
      type: 'text',
      short: 'd',
      value: 'DEVICE',
      completes: 'none',
      help: 'This controller only, as list-subsys names it, e.g. nvme1',
    },
    ...processOptions,
    ...outputOptions,
  },
  examples: [{ line: 'nvbraid disconnect -n nqn.2026-01.io.nvbraid:box:disk', help: 'by the name of the subsystem' }],
  async run({ options, terminal }) {
    const { nqn } = options;
    const json = options['output-format'] === 'json';
    if (options.device !== undefined) {
      if (nqn !== undefined) throw new UsageError('-n and -d exclude each other');
      const controller = controllerName(options.device)!;
      const client = await ControlClient.connect(options.socket ?? (await onlyProcess('connect')));
      try {
        await client.call('remove-controller', { controller });
      } finally {
        client.close();
      }
      if (json) terminal.json({ disconnected: 1, controller });
      else terminal.line(`disconnected ${controller}`);
      return 0;
    }
    const sockets =
      options.socket !== undefined
        ? [options.socket]
        : nqn === undefined
          ? [await onlyProcess('connect')]
          : (await hostProcesses()).map((process) => process.socket);
    let count = 0;
    for (const path of sockets) count += await disconnectOne(path, nqn);
    if (count === 0) throw new NvbraidError('ENOENT', `no nvbraid connect here is connected to ${nqn}`);
    if (json) terminal.json({ disconnected: count });
    else terminal.line(`${nqn === undefined ? '' : `NQN:${nqn} `}disconnected ${plural(count, 'controller')}`);
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
    return status.controllers.length;
  } finally {
    client.close();
  }
}
