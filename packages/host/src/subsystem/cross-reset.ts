import { NEVER } from '@nvbraid/base';
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
  Status,
  statusName,
} from '@nvbraid/wire';
import { getLogPageRequest } from '../admin-commands.ts';
import type { AsyncEvent } from '../async-events.ts';
import type { HostController } from '../host-controller.ts';
import { HostRequest } from '../host-request.ts';
import { CCR_RETRY_MS } from '../limits.ts';
import type { Fence } from './fences.ts';
import type { HostSubsystem } from './host-subsystem.ts';

/*
 * Cross-Controller Reset (Base 2.3, 8.1; TP8028): a controller that lives ends the association of one that does not
 * answer, and says when nothing of it can run any more. Then what a fence holds may go on at once.
 */

const LOG_BYTES = 8 + 8 * CCR_LOG_MAX_ENTRIES;
/** Entries that are over are removed when they have been read: the log must not fill up. */
const REMOVE_COMPLETED = 1;

/** As `resetLost`, for all fences. Called whenever a controller has come or gone. */
export function resetAllLost(subsystem: HostSubsystem): void {
  for (const fence of [...subsystem.fences.pending]) resetLost(subsystem, fence);
}

/** Asks for the reset of what is behind a fence, through an association that has not been asked yet. */
export function resetLost(subsystem: HostSubsystem, fence: Fence): void {
  const { reset } = fence;
  if (reset.state === 'asking' || reset.retryMs !== NEVER) return;
  if (reset.state === 'waiting') {
    // What was asked is forgotten with the association that was asked: ask another one then.
    if (reset.by!.state === 'live' && reset.by!.identify === reset.association) return;
    reset.state = 'idle';
  }
  const by = subsystem.controllers.find((controller) => canReset(controller, fence));
  if (by === undefined) return;
  reset.asked.add(by.identify!);
  reset.by = by;
  reset.association = by.identify;
  reset.state = 'asking';
  const request = new HostRequest();
  CrossControllerResetSqe.emit(request.sqe.view, 0, {
    opc: AdminOpcode.CrossControllerReset,
    icid: fence.cntlid,
    ciu: fence.ciu,
    cirn: fence.cirn,
  });
  request.done = ({ status, dw0 }) => {
    if (subsystem.fences.pending.includes(fence)) answered(subsystem, fence, by, status, dw0);
  };
  by.submitAdmin(request);
}

function canReset(controller: HostController, { cntlid, cirn, reset: { asked } }: Fence): boolean {
  const { identify } = controller;
  if (controller.state !== 'live' || identify === null || identify.ccrl === 0) return false;
  const itself = controller.cntlid === cntlid && identify.cirn === cirn;
  return !itself && !asked.has(identify);
}

function answered(subsystem: HostSubsystem, fence: Fence, by: HostController, status: number, dw0: number): void {
  const { reset } = fence;
  const code = status & 0x7ff;
  if (status === 0 && isImmediate(dw0)) {
    subsystem.log(`controller ${fence.cntlid} was reset by controller ${by.cntlid}`);
    subsystem.fences.release(fence);
  } else if (status === 0 || code === Status.CrossControllerResetInProgress) {
    reset.state = 'waiting';
    readLog(subsystem, by); // it may be over by now
  } else if (code === Status.CrossControllerResetLimitExceeded || code === Status.CrossControllerResetLogPageFull) {
    // The same one can do it, but not now.
    if (code === Status.CrossControllerResetLogPageFull) readLog(subsystem, by);
    reset.state = 'idle';
    reset.asked.delete(reset.association!);
    reset.retryMs = subsystem.clock.nowMs() + CCR_RETRY_MS;
    subsystem.wake();
  } else {
    reset.state = 'idle';
    subsystem.log(`controller ${by.cntlid} does not reset controller ${fence.cntlid}: ${statusName(status)}`);
    resetLost(subsystem, fence);
  }
}

function isImmediate(dw0: number): boolean {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, dw0, true);
  return CrossControllerResetResult.irs.get(view, 0) === 1;
}

/** An event of `by`: resets that it was asked for may be over. */
export function resetEvent(subsystem: HostSubsystem, by: HostController, { type, info }: AsyncEvent): void {
  if (type !== AsyncEventType.Notice || info !== AsyncEventNotice.CrossControllerResetCompleted) return;
  readLog(subsystem, by);
}

/** Looks what has become of all that `by` was asked for. */
function readLog(subsystem: HostSubsystem, by: HostController): void {
  const association = by.identify;
  const request = getLogPageRequest(Lid.CrossControllerReset, LOG_BYTES, { lsp: REMOVE_COMPLETED });
  // The log is as long as it has entries.
  request.exact = false;
  request.done = ({ status }) => {
    const log = status === 0 ? parseCrossControllerResetLog(request.memory.bytes) : null;
    if (log === null || !log.ok) return; // the time remains
    for (const fence of [...subsystem.fences.pending]) {
      const { reset } = fence;
      if (reset.state !== 'waiting' || reset.association !== association) continue;
      const entry = log.value.find(({ icid, ciu }) => icid === fence.cntlid && ciu === fence.ciu);
      if (entry === undefined || entry.ccrs === Ccrs.InProgress) continue; // the event comes when it is over
      if (entry.ccrs === Ccrs.Success) {
        subsystem.log(`controller ${fence.cntlid} was reset by controller ${by.cntlid}`);
        subsystem.fences.release(fence);
      } else {
        subsystem.log(`controller ${by.cntlid} could not reset controller ${fence.cntlid}`);
        reset.state = 'idle';
        resetLost(subsystem, fence);
      }
    }
  };
  by.submitAdmin(request);
}
