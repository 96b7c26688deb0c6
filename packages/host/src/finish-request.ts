import { Status } from '@nvbraid/wire';
import { type HostRequest, RequestState, Transfer } from './host-request.ts';

/** Gives a request back to its submitter. The last that is done with it. */
export function finish(request: HostRequest, status: number, dw0: number, dw1: number, received: number): void {
  request.state = RequestState.Idle;
  request.status = status;
  request.dw0 = dw0;
  request.dw1 = dw1;
  request.received = request.transfer === Transfer.FromController ? received : 0;
  request.cid = -1;
  request.done(request);
}

/** Ends a request with a path error that the controller has, and may execute or not. */
export function lose(request: HostRequest, received: number): void {
  request.fateUnknown = true;
  finish(request, Status.HostPathingError, 0, 0, received);
}
