import { AbortSqe, Status } from '@nvbraid/wire';
import { type AdminCommand, CONTROLLER_COMMAND } from '../controller-kind.ts';

/** Keep Alive (Base 2.1, 5.1.14). */
export const keepAlive: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  run(controller, request) {
    controller.restartTimer();
    request.complete(0);
    return 0;
  },
};

/** Asynchronous Event Request (Base 2.1, 5.1.2): stays under way until there is something to tell. */
export const asyncEventRequest: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  run: (controller, request) => controller.events.request(request),
};

/**
 * Abort (Base 2.1, 5.1.1). Asynchronous Event Requests are the only commands that wait on an admin queue. Commands of
 * I/O queues live in other threads and are on their way to a device: they are left to end by themselves, and dword 0 says
 * that nothing was aborted.
 */
export const abort: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  run(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    const cid = AbortSqe.abortCid.get(view, base);
    const aborted = AbortSqe.sqid.get(view, base) === 0 && controller.events.abort(cid);
    request.complete(Status.Success, aborted ? 0 : 1);
    return 0;
  },
};
