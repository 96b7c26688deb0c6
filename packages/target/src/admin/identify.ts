import { DNR, IDENTIFY_SIZE, IdentifySqe, NSID_LIMIT, Sqe, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import { type AdminCommand, CONTROLLER_COMMAND } from '../controller-kind.ts';
import { MAX_NAMESPACES } from '../limits.ts';
import type { Namespace } from '../namespace.ts';
import type { Request } from '../request.ts';

/** Identify (Base 2.1, 5.1.13): what can be asked for stands in the table of the controller's kind. */
export const identify: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  admit(controller, request) {
    if (!controller.kind.identify.has(IdentifySqe.cns.get(request.sqeView, request.sqeBase))) {
      return Status.InvalidField | DNR;
    }
    return replyLength(request, IDENTIFY_SIZE);
  },
  run(controller, request) {
    const cns = IdentifySqe.cns.get(request.sqeView, request.sqeBase);
    const page = controller.kind.identify.get(cns)!(controller, request);
    if (typeof page === 'number') return page;
    if (replyPage(request, page, 0)) request.complete(0);
    return 0;
  },
};

/** For commands that answer `bytes` bytes: a descriptor with less room than that is refused, more is left unused. */
export function replyLength(request: Request, bytes: number): number {
  if (request.sglLength < bytes) return Status.DataSglLengthInvalid | DNR;
  request.dataLength = bytes;
  return 0;
}

/**
 * Copies `page` from `offset` on into the reply; what lies beyond its end reads as zero. False when there is no payload
 * memory: the command will be run again, so that hosts that do not take their answers cannot fill our memory.
 */
export function replyPage(request: Request, page: Uint8Array, offset: number): boolean {
  const slab = request.replyBuffer();
  if (slab === null) return false;
  const part = page.subarray(offset, offset + request.dataLength);
  slab.bytes.set(part);
  slab.bytes.fill(0, part.length, request.dataLength);
  return true;
}

/**
 * The namespace that a command asks about (Base 2.1, 3.2.1.4): 0, FFFFFFFFh and what lies beyond NN are no namespaces,
 * which is an error; null for one that could exist but is inactive.
 */
export function namespaceOf(controller: Controller, request: Request): Namespace | null | number {
  const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
  if (nsid === 0 || nsid > MAX_NAMESPACES) return Status.InvalidNamespaceOrFormat | DNR;
  return controller.namespace(nsid);
}

/** Active namespaces with a greater nsid than the command names. */
export function namespacesAfter(controller: Controller, request: Request): number[] | number {
  const after = Sqe.nsid.get(request.sqeView, request.sqeBase);
  if (after >= NSID_LIMIT) return Status.InvalidNamespaceOrFormat | DNR;
  const nsids: number[] = [];
  for (const namespace of controller.namespaces) if (namespace.nsid > after) nsids.push(namespace.nsid);
  return nsids;
}
