import { ControlClient } from '@nvbraid/manage';
import { connectSubsystem, NvbraidError } from 'nvbraid';
import { advised } from '../advice.ts';
import { connectOptions, formatAddress } from '../association.ts';
import { command } from '../command.ts';
import { ConnectProcess } from '../connect-process.ts';
import { givenPaths, nqnByAny } from '../given-paths.ts';
import {
  addressOptions,
  associationOptions,
  multipathOptions,
  outputOptions,
  ownSocketOptions,
  queueOptions,
  recoveryOptions,
  verboseOption,
} from '../options.ts';
import { type GivenPath, samePath } from '../path-option.ts';
import { hostProcesses } from '../process-list.ts';
import { processStatus } from '../process-session.ts';
import { StopSignal } from '../stop-signal.ts';
import type { Terminal } from '../terminal.ts';

const OPTIONS = {
  ...addressOptions,
  ...associationOptions,
  ...queueOptions,
  ...recoveryOptions,
  ...multipathOptions,
  'duplicate-connect': {
    type: 'flag',
    short: 'D',
    help: 'Connect although there is a connection to the same subsystem by the same path',
  },
  ...ownSocketOptions,
  ...outputOptions,
  ...verboseOption,
} as const;

export const connect = command({
  name: 'connect',
  summary: 'Connect to a subsystem by one or more paths and stay connected, in the foreground',
  description: [
    'Keeps a controller for each path, joins them to one head per namespace, connects again what is lost, and prints what happens to paths. It answers list-subsys, top, id-ctrl, id-ns, read, write, set iopolicy, reset, disconnect and the like by its control socket. Ctrl-C lets commands under way end, then disconnects.',
    'The loss of a path is not seen by commands while another one lives or may come back. How long a write can wait for that is printed with its formula.',
    'The namespaces are used by these commands and by programs that use the library; they do not become block devices of the system.',
  ],
  options: OPTIONS,
  examples: [
    {
      line: 'nvbraid connect -t tcp -a 192.168.0.7 -s 4420 -n nqn.2026-01.io.nvbraid:box:disk',
      help: 'as with nvme-cli',
    },
    {
      line: 'nvbraid connect -a 192.168.0.7 --path 192.168.1.7 --iopolicy round-robin',
      help: 'two paths that take turns, to the only subsystem there',
    },
    {
      line: 'nvbraid connect --path [fd00::7]:4420,host-iface=eth1 -i 4 -g -G',
      help: 'four I/O queues and both digests, by one network device',
    },
  ],
  async run({ options, terminal }) {
    const paths = givenPaths(options);
    using stop = new StopSignal(() => terminal.note('disconnecting; once more stops at once'));
    const { signal } = stop;
    const nqn = options.nqn ?? (await nqnByAny(paths, options, signal));
    if (!options['duplicate-connect']) await refuseDuplicate(nqn, paths, terminal);
    const work = connectSubsystem({
      ...connectOptions(options),
      nqn,
      paths,
      iopolicy: options.iopolicy,
      safeFailover: options['safe-failover'] === 'on',
      delayedRemovalSecs: options['delayed-removal-secs'],
      duplicateConnect: options['duplicate-connect'],
      signal,
    });
    const subsystem = await advised({ ...paths[0]!, nqn }, work);
    const process = new ConnectProcess(subsystem, terminal, {
      pathDefaults: connectOptions(options),
      json: options['output-format'] === 'json',
      verbose: options.verbose > 0,
    });
    return await process.run(options.socket, stop);
  },
});

/** As the kernel does without duplicate_connect. Who has another path may have meant to add one. */
async function refuseDuplicate(nqn: string, paths: readonly GivenPath[], terminal: Terminal): Promise<void> {
  for (const process of await hostProcesses()) {
    const client = await ControlClient.connect(process.socket).catch(() => null);
    if (client === null) continue;
    try {
      const status = await processStatus(client);
      if (status.role !== 'connect' || status.address.nqn !== nqn) continue;
      const twin = status.controllers.find((one) => paths.some((path) => samePath(path, one)));
      if (twin === undefined) {
        terminal.note(
          `process ${process.pid} is connected to ${nqn}, too: nvbraid add-path adds a path to it; this one shares nothing with it`,
        );
        continue;
      }
      const where = formatAddress(twin.traddr, twin.trsvcid);
      throw new NvbraidError(
        'EBUSY',
        `process ${process.pid} is connected to ${nqn} at ${where} already; -D connects once more`,
      );
    } finally {
      client.close();
    }
  }
}
