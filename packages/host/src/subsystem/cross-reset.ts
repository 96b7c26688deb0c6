import {
  AdminOpcode,
  AsyncEventNotice,
  AsyncEventType,
  CCR_LOG_MAX_ENTRIES,
  Ccrs,
  CrossControllerResetResult,
  CrossControllerResetSqe,
  Lid,
  parseCrossControllerResetLog,
  statusName,
} from '@nvbraid/wire';
import { getLogPageRequest } from '../admin-commands.ts';
import type { AsyncEvent } from '../async-events.ts';
import type { HostController } from '../host-controller.ts';
import { HostRequest } from '../host-request.ts';
import type { Fence } from './fences.ts';
import type { HostSubsystem } from './host-subsystem.ts';

/*
 * Cross-Controller Reset (Base 2.3, 8.1; TP8028): a controller that lives ends the association of one that does not
 * answer, and says when nothing of it can run any more. Then what a fence holds may go on at once.
 */

const LOG_BYTES = 8 + 8 * CCR_LOG_MAX_ENTRIES;

/**
 * Asks for the reset of what is behind a fence, through a controller that has not been asked yet, or looks what has become
 * of it. Called whenever something may have changed: a controller is live, an event has come.
 */
export function resetLost(subsystem: HostSubsystem, fence: Fence, event?: AsyncEvent): void {
  const { reset } = fence;
  if (reset.state === 'asking') return;
  if (reset.state === 'waiting') {
    // The event may have been lost with the controller that was asked: ask another one then.
    if (reset.by!.state === 'live') {
      if (event !== undefined && isCompletion(event)) readLog(subsystem, fence, reset.by!);
      return;
    }
    reset.state = 'idle';
  }
  const by = subsystem.controllers.find((controller) => canReset(controller, fence));
  if (by === undefined) return;
  reset.asked.add(`${subsystem.indexOf(by)}/${by.cntlid}`);
  reset.by = by;
  reset.state = 'asking';
  const request = new HostRequest();
  CrossControllerResetSqe.emit(request.sqe.view, 0, {
    opc: AdminOpcode.CrossControllerReset,
    icid: fence.cntlid,
    ciu: fence.ciu,
    cirn: fence.cirn,
  });
  request.done = ({ status, dw0 }) => {
    if (!subsystem.fences.pending.includes(fence)) return;
    if (status !== 0) {
      reset.state = 'idle';
      subsystem.log(`controller ${by.cntlid} does not reset controller ${fence.cntlid}: ${statusName(status)}`);
      resetLost(subsystem, fence);
    } else if (isImmediate(dw0)) {
      subsystem.log(`controller ${fence.cntlid} was reset by controller ${by.cntlid}`);
      subsystem.fences.release(fence);
    } else {
      reset.state = 'waiting';
      readLog(subsystem, fence, by); // it may be over by now
    }
  };
  by.submitAdmin(request);

  function canReset(controller: HostController, { cntlid, cirn, reset: { asked } }: Fence): boolean {
    const { identify } = controller;
    if (controller.state !== 'live' || identify === null || identify.ccrl === 0) return false;
    const itself = controller.cntlid === cntlid && identify.cirn === cirn;
    return !itself && !asked.has(`${subsystem.indexOf(controller)}/${controller.cntlid}`);
  }
}

function isImmediate(dw0: number): boolean {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, dw0, true);
  return CrossControllerResetResult.irs.get(view, 0) === 1;
}

function isCompletion({ type, info }: AsyncEvent): boolean {
  return type === AsyncEventType.Notice && info === AsyncEventNotice.CrossControllerResetCompleted;
}

function readLog(subsystem: HostSubsystem, fence: Fence, by: HostController): void {
  const request = getLogPageRequest(Lid.CrossControllerReset, LOG_BYTES);
  request.done = ({ status }) => {
    if (!subsystem.fences.pending.includes(fence) || fence.reset.state !== 'waiting') return;
    const log = parseCrossControllerResetLog(request.memory.bytes);
    const entry =
      status === 0 && log.ok
        ? log.value.find(({ icid, ciu }) => icid === fence.cntlid && ciu === fence.ciu)
        : undefined;
    if (entry === undefined || entry.ccrs === Ccrs.InProgress) return; // the event comes when it is over
    if (entry.ccrs === Ccrs.Success) {
      subsystem.log(`controller ${fence.cntlid} was reset by controller ${by.cntlid}`);
      return subsystem.fences.release(fence);
    }
    subsystem.log(`controller ${by.cntlid} could not reset controller ${fence.cntlid}`);
    fence.reset.state = 'idle';
    resetLost(subsystem, fence);
  };
  by.submitAdmin(request);
}
