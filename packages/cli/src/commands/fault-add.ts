import { FAULT_TABLE } from '@nvbraid/target';
import type { FaultState } from 'nvbraid';
import { command } from '../command.ts';
import { callServe, pairs, serveOptions } from '../serve-call.ts';
import { faultLine, settingsHelp } from '../setting-text.ts';

const { action, ...settings } = FAULT_TABLE;

export const faultAdd = command({
  name: 'fault-add',
  summary: 'Let a running nvbraid serve break its wire on purpose',
  description: [
    `ACTION is ${action.what}. It happens to each PDU that all settings fit; the first fault that hits a PDU has its way.`,
    'drop: the PDU vanishes. delay: it waits, and what follows it in its direction waits behind it. stall: it waits alone. corrupt: one bit is flipped. truncate: its first part is sent, then the connection ends. header-digest, data-digest: the digest is wrong, where there is one. kill-queue, kill-controller: the connection is reset, or all of the controller. ana-flap, aen-storm: the control plane changes a group or raises events, again and again.',
    settingsHelp('Settings', settings),
  ],
  options: serveOptions,
  operands: {
    value: 'ACTION',
    help: 'Action, and settings as KEY=VALUE',
    min: 1,
    max: Object.keys(FAULT_TABLE).length,
  },
  examples: [
    { line: 'nvbraid fault add drop pdu=CapsuleResp opcode=write count=3', help: 'three writes get no answer' },
    { line: 'nvbraid fault add drop opcode=keep-alive qid=0', help: 'Keep Alive is swallowed' },
    { line: 'nvbraid fault add kill-queue qid=1-4 probability=0.1% seed=7', help: 'the same queues die each time' },
    { line: 'nvbraid fault add ana-flap state=inaccessible interval=2s', help: 'paths come and go' },
  ],
  async run({ options, operands, terminal }) {
    const [what, ...rest] = operands;
    const rule = { ...pairs(rest), action: what };
    const added = (await callServe(options.socket, 'fault-add', { rule })) as FaultState;
    if (options['output-format'] === 'json') terminal.json(added);
    else terminal.line(faultLine(added));
    return 0;
  },
});
