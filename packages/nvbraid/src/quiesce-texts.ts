import type { Controller } from '@nvbraid/target';

/* What operators read of controllers whose commands outlive their association. */

export function overdueText(controller: Controller, lateMs: number): string {
  const { ioQueueCount } = controller;
  return (
    `${name(controller)}: ${Math.round(lateMs)} ms after the end of its association a device has not ended the commands of ` +
    `${ioQueueCount} ${ioQueueCount === 1 ? 'queue' : 'queues'}; a host that waits only for CQT ` +
    `(${controller.subsystem!.cqtMs} ms) may see them change blocks afterwards: look at the disk, or raise CQT`
  );
}

export function quietText(controller: Controller, tookMs: number): string {
  return `${name(controller)}: its last command has ended, ${Math.round(tookMs)} ms after the end of its association`;
}

function name(controller: Controller): string {
  return `controller ${controller.cntlid} of ${controller.subnqn}, host ${controller.hostnqn}`;
}
