import { ControlClient, isObject } from '@nvbraid/manage';
import { NVME_TCP_PORT } from '@nvbraid/wire';
import { NvbraidError } from 'nvbraid';
import { formatAddress } from '../association.ts';
import { command } from '../command.ts';
import { connectedTo, onlyProcess } from '../open-session.ts';
import { outputOptions, processOptions, TRANSPORTS } from '../options.ts';
import { parsePath } from '../path-option.ts';
import { processStatus } from '../process-session.ts';

const OPERAND = 'ADDR[:PORT][,...]';

export const addPath = command({
  name: 'add-path',
  summary: 'Add a path to a subsystem that a running nvbraid connect has connected',
  description: [
    'What a second nvme connect to the same subsystem is for the kernel: one more controller joins, and the namespaces of the subsystem get a path by it, which is used from then on as the iopolicy says. Queues, digests and timeouts are those that the process was started with. nvbraid disconnect -d takes a path away again.',
    'A path that is there already is refused, unless -D is given.',
  ],
  options: {
    nqn: { type: 'text', short: 'n', value: 'NQN', help: 'The subsystem, where several are connected' },
    'duplicate-connect': { type: 'flag', short: 'D', help: 'Add it although there is the same path already' },
    ...processOptions,
    ...outputOptions,
  },
  operands: {
    value: OPERAND,
    help: `The path, as connect has it for --path; port ${NVME_TCP_PORT} and the transport of the other paths where nothing is said`,
    min: 1,
    max: 1,
    completes: 'none',
  },
  examples: [
    { line: 'nvbraid add-path 192.168.1.7', help: 'a second way to what is connected here' },
    { line: 'nvbraid add-path [fd00::7]:4421,host-iface=eth1', help: 'by one network device' },
  ],
  async run({ options, operands, terminal }) {
    const { socket, nqn } = options;
    const [operand] = operands as [string];
    // A mistake in it is told before anybody is asked.
    parsePath(operand, { transport: 'tcp', trsvcid: NVME_TCP_PORT }, OPERAND);
    const chosen = socket ?? (nqn === undefined ? await onlyProcess('connect') : await connectedTo(nqn));
    const client = await ControlClient.connect(chosen);
    try {
      const status = await processStatus(client);
      if (status.role !== 'connect') {
        throw new NvbraidError('EINVAL', `process ${status.pid} is nvbraid serve: it is connected to nothing`);
      }
      const { address } = status;
      if (nqn !== undefined && nqn !== address.nqn) {
        throw new NvbraidError('ENOENT', `process ${status.pid} is connected to ${address.nqn}, not to ${nqn}`);
      }
      // The others may lead to a target inside the process, which answers that it has no other path.
      const transport = TRANSPORTS.find((name) => name === address.transport) ?? 'tcp';
      const path = parsePath(operand, { transport, trsvcid: NVME_TCP_PORT }, OPERAND);
      const added = await client.call('add-path', { ...path, duplicate: options['duplicate-connect'] });
      if (options['output-format'] === 'json') terminal.json(added);
      else {
        const where = formatAddress(path.traddr, path.trsvcid);
        terminal.line(`connected to ${terminal.style('bold', address.nqn)} at ${where}${describe(added)}`);
      }
    } finally {
      client.close();
    }
    return 0;
  },
});

function describe(added: unknown): string {
  if (!isObject(added)) return '';
  const { name, cntlid, heads } = added;
  const by = Array.isArray(heads) && heads.length > 0 ? `: a path of ${heads.join(', ')}` : ': no namespace by it';
  return `, ${name}, controller ${cntlid}${by}`;
}
