import { ControlClient, isObject } from '@nvbraid/manage';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { onlyProcess } from '../open-session.ts';
import { outputOptions, processOptions } from '../options.ts';
import { nearest } from '../suggest.ts';
import { UsageError } from '../usage-error.ts';

export const setIopolicy = command({
  name: 'set-iopolicy',
  summary: 'Change which of several good paths commands take',
  description: [
    'Of a running nvbraid connect, at once and for all namespaces of its subsystem: numa stays with one path, round-robin takes turns, queue-depth takes the path with the fewest commands, service-time the one that will be done first.',
  ],
  options: { ...processOptions },
  operands: {
    value: 'NAME',
    help: 'numa, round-robin, queue-depth or service-time',
    min: 1,
    max: 1,
    completes: 'none',
  },
  examples: [{ line: 'nvbraid set iopolicy queue-depth', help: 'of the only nvbraid connect that runs here' }],
  async run({ options, operands, terminal }) {
    const [name] = operands as [string];
    const client = await ControlClient.connect(options.socket ?? (await onlyProcess('connect')));
    try {
      const { iopolicies } = policyOf(await client.call('iopolicy', {}));
      if (!iopolicies.includes(name)) {
        const close = nearest(name, iopolicies);
        const hint = close === null ? '' : `; did you mean ${close}?`;
        throw new UsageError(`'${name}' is none of ${iopolicies.join(', ')}${hint}`);
      }
      terminal.line(policyOf(await client.call('iopolicy', { iopolicy: name })).iopolicy);
    } finally {
      client.close();
    }
    return 0;
  },
});

export const getIopolicy = command({
  name: 'get-iopolicy',
  summary: 'Print which of several good paths commands take',
  description: ['Of a running nvbraid connect.'],
  options: { ...processOptions, ...outputOptions },
  examples: [{ line: 'nvbraid get iopolicy', help: 'of the only nvbraid connect that runs here' }],
  async run({ options, terminal }) {
    const client = await ControlClient.connect(options.socket ?? (await onlyProcess('connect')));
    try {
      const policy = policyOf(await client.call('iopolicy', {}));
      if (options['output-format'] === 'json') terminal.json(policy);
      else terminal.line(policy.iopolicy);
    } finally {
      client.close();
    }
    return 0;
  },
});

interface Policy {
  readonly iopolicy: string;
  readonly iopolicies: readonly string[];
}

function policyOf(answer: unknown): Policy {
  if (isObject(answer) && typeof answer.iopolicy === 'string' && Array.isArray(answer.iopolicies)) {
    return { iopolicy: answer.iopolicy, iopolicies: answer.iopolicies.map(String) };
  }
  throw new NvbraidError('EPROTO', 'iopolicy: the process answered with something else');
}
