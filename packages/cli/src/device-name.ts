import type { Operands } from './command.ts';
import { UsageError } from './usage-error.ts';

/** A controller of a running connect, where nvme-cli has a device file. */
export const CONTROLLER_OPERAND: Operands = {
  value: '[DEVICE]',
  help: 'Controller of a running connect as list-subsys names it, e.g. nvme1; else one that is live',
  min: 0,
  max: 1,
  completes: 'none',
};

/** `nvme1` of `nvme1` or `/dev/nvme1`. @throws UsageError */
export function controllerName(operand: string | undefined): string | undefined {
  if (operand === undefined) return undefined;
  const match = /^(?:\/dev\/)?(nvme[0-9]+)$/.exec(operand);
  if (match !== null) return match[1];
  throw new UsageError(`'${operand}' is no controller such as nvme1: nvbraid list-subsys shows which there are`);
}

/** `nvme0n1` of `nvme0n1` or `/dev/nvme0n1`. @throws UsageError */
export function headName(operand: string): string {
  const match = /^(?:\/dev\/)?(nvme[0-9]+n[0-9]+)$/.exec(operand);
  if (match !== null) return match[1]!;
  throw new UsageError(`'${operand}' is no namespace such as nvme0n1: nvbraid list-subsys -v shows which there are`);
}
