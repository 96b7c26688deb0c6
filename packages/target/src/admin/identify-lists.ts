import { controllerList, DNR, IDENTIFY_SIZE, IdentifySqe, NSID_LIMIT, namespaceList, Sqe, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Page } from '../controller-kind.ts';
import { MAX_NAMESPACES } from '../limits.ts';
import type { Namespace } from '../namespace.ts';
import type { Request } from '../request.ts';
import { namespacePage } from './identify-namespace.ts';

/*
 * Lists of allocated namespaces, which are those that exist, disabled ones included, and of controllers. As everywhere,
 * what a host may not see is not there for it.
 */

/** CNS 10h. */
export function identifyAllocatedList(controller: Controller, request: Request): Page {
  return listOf(controller, request, () => true);
}

/** CNS 1Ah. */
export function identifyCsAllocatedList(controller: Controller, request: Request): Page {
  const csi = IdentifySqe.csi.get(request.sqeView, request.sqeBase);
  return listOf(controller, request, (namespace) => namespace.csi === csi);
}

function listOf(controller: Controller, request: Request, wanted: (namespace: Namespace) => boolean): Page {
  const after = Sqe.nsid.get(request.sqeView, request.sqeBase);
  if (after >= NSID_LIMIT) return Status.InvalidNamespaceOrFormat | DNR;
  const namespaces = controller.allocated.filter((namespace) => namespace.nsid > after && wanted(namespace));
  return namespaceList(namespaces.map(({ nsid }) => nsid));
}

/** CNS 11h: zeroes when there is no such namespace. */
export function identifyAllocatedNamespace(controller: Controller, request: Request): Page {
  const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
  if (nsid === 0 || nsid > MAX_NAMESPACES) return Status.InvalidNamespaceOrFormat | DNR;
  const namespace = controller.allocated.find((candidate) => candidate.nsid === nsid);
  return namespace === undefined ? new Uint8Array(IDENTIFY_SIZE) : namespacePage(namespace);
}

/** CNS 12h: controllers for whose hosts the namespace is active, from CNTID on. */
export function identifyAttachedControllers(controller: Controller, request: Request): Page {
  const nsid = Sqe.nsid.get(request.sqeView, request.sqeBase);
  if (nsid === 0 || nsid > MAX_NAMESPACES) return Status.InvalidNamespaceOrFormat | DNR;
  const namespace = controller.namespace(nsid);
  if (namespace === null) return controllerList([]);
  return controllersFrom(controller, request, (other) => namespace.visibleTo(other.hostnqn));
}

/** CNS 13h: controllers of the subsystem, from CNTID on. */
export function identifyControllers(controller: Controller, request: Request): Page {
  return controllersFrom(controller, request, () => true);
}

function controllersFrom(controller: Controller, request: Request, wanted: (other: Controller) => boolean): Page {
  const from = IdentifySqe.cntid.get(request.sqeView, request.sqeBase);
  const cntlids = [...controller.subsystem!.controllers.values()].filter(wanted).map(({ cntlid }) => cntlid);
  return controllerList(cntlids.filter((cntlid) => cntlid >= from).sort((a, b) => a - b));
}
