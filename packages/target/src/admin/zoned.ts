import {
  changedZones,
  DNR,
  IdentifyControllerZoned,
  IdentifyNamespaceZoned,
  NO_ZONE_LIMIT,
  Ozcs,
  Status,
} from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { LogPage, Page } from '../controller-kind.ts';
import type { Request } from '../request.ts';
import { namespaceOf } from './identify.ts';

/** 0's based; 0 means no limit with us, and all ones on the wire. */
function limit(zones: number): number {
  return zones === 0 ? NO_ZONE_LIMIT : zones - 1;
}

/** CNS 05h with CSI 2 (ZNS 1.2, 4.1.5.1). Nothing changes by itself there: no variable capacity, no excursions. */
export function identifyNamespaceZoned(controller: Controller, request: Request): Page {
  const namespace = namespaceOf(controller, request);
  if (typeof namespace === 'number') return namespace;
  if (namespace === null) return IdentifyNamespaceZoned.toBytes({});
  const { zones } = namespace;
  if (zones === null) return Status.InvalidField | DNR;
  return IdentifyNamespaceZoned.toBytes({
    ozcs: Ozcs.ReadAcrossZoneBoundaries,
    mar: limit(zones.maxActive),
    mor: limit(zones.maxOpen),
    lbafe: [{ zsze: zones.zoneBlocks, zdes: 0 }],
  });
}

/** CNS 06h with CSI 2 (ZNS 1.2, 4.1.5.2): a Zone Append may be as long as MDTS allows. */
export function identifyControllerZoned(): Page {
  return IdentifyControllerZoned.toBytes({ zasl: 0 });
}

/** LID BFh (ZNS 1.2, 4.1.4.1). */
export const changedZoneList: LogPage = {
  perNamespace: true,
  page(controller, request) {
    const namespace = namespaceOf(controller, request);
    if (typeof namespace === 'number') return namespace;
    if (namespace === null) return Status.InvalidNamespaceOrFormat | DNR;
    if (namespace.zones === null) return Status.InvalidField | DNR;
    return changedZones(controller.zoneChanges.of(namespace.nsid));
  },
  read: (controller, nsid) => controller.zoneChanges.read(nsid, controller.events),
};
