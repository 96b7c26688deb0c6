import { ControlClient, isObject } from '@nvbraid/manage';
import { command } from '../command.ts';
import { CONTROLLER_OPERAND, controllerName } from '../device-name.ts';
import { onlyProcess } from '../open-session.ts';
import { processOptions } from '../options.ts';

export const reset = command({
  name: 'reset',
  summary: 'Reset a controller of a running nvbraid connect: end its association and connect again',
  description: [
    'Commands that it has go by other paths, or wait until it is back. Answers when the reset has begun; nvbraid list-subsys shows how it goes on.',
  ],
  options: { ...processOptions },
  operands: { ...CONTROLLER_OPERAND, help: 'Controller as list-subsys names it, e.g. nvme1; else all of them' },
  examples: [{ line: 'nvbraid reset nvme1', help: 'one path; the others go on' }],
  async run({ options, operands, terminal }) {
    const controller = controllerName(operands[0]);
    const client = await ControlClient.connect(options.socket ?? (await onlyProcess('connect')));
    try {
      const answer = await client.call('reset', controller === undefined ? {} : { controller });
      const names = isObject(answer) && Array.isArray(answer.controllers) ? answer.controllers : [];
      terminal.line(`resetting ${names.join(', ')}`);
    } finally {
      client.close();
    }
    return 0;
  },
});
