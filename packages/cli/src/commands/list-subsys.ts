import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { headName } from '../device-name.ts';
import { outputOptions, processOptions, verboseOption } from '../options.ts';
import { allStatuses, isConnected } from '../process-list.ts';
import { subsystemsJson } from '../subsystem-json.ts';
import { printSubsystem } from '../subsystem-text.ts';

const { socket } = processOptions;

export const listSubsys = command({
  name: 'list-subsys',
  summary: 'List the subsystems that are connected, with their paths',
  description: [
    'Asks every nvbraid connect that runs here. Words and JSON are those of nvme-cli; a controller has the ANA state that all its namespaces share, or that of the DEVICE that is named.',
    'By Multipath TCP -v tells of the subflows of each queue: their addresses, what they have carried, round-trip time, what was sent again, and which are backups, stale (two timeouts in a row without an answer), or all that is left because the connection fell back to TCP.',
    '-v adds the counters of paths (failovers, retries, errors), controllers (resets, reconnects) and heads (requeues: commands that had to wait for a path; failures: those that no path was left for; how long failovers took), and the bound on a stall.',
  ],
  options: {
    nqn: { type: 'text', short: 'n', value: 'NQN', help: 'This subsystem only' },
    socket: { ...socket, help: 'Control socket of the only process to ask' },
    ...outputOptions,
    ...verboseOption,
  },
  operands: { value: '[DEVICE]', help: 'Namespace, e.g. nvme0n1', min: 0, max: 1, completes: 'none' },
  examples: [
    { line: 'nvbraid list-subsys', help: 'what is connected, and how its paths are' },
    { line: 'nvbraid list-subsys -v nvme0n1', help: 'one namespace, with all counters' },
  ],
  async run({ options, operands, terminal }) {
    const head = operands[0] === undefined ? null : headName(operands[0]);
    const connected = (await allStatuses(options.socket, terminal, 'list-subsys')).filter(isConnected);
    const found = connected
      .filter(({ status }) => options.nqn === undefined || status.address.nqn === options.nqn)
      .filter(({ status }) => head === null || status.heads.some(({ name }) => name === head));
    if (found.length === 0 && head !== null) throw new NvbraidError('ENOENT', `no nvbraid connect here has ${head}`);
    if (found.length === 0 && options.nqn !== undefined) {
      throw new NvbraidError('ENOENT', `no nvbraid connect here is connected to ${options.nqn}`);
    }
    const verbose = options.verbose > 0;
    if (options['output-format'] === 'json') terminal.json(subsystemsJson(found, head, verbose));
    else if (found.length === 0) terminal.note('No nvbraid connect is running here.');
    found.forEach((one, i) => {
      if (options['output-format'] === 'json') return;
      if (i > 0) terminal.line();
      printSubsystem(one, head, verbose, terminal);
    });
    return 0;
  },
});
