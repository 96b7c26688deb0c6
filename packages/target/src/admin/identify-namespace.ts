import {
  DNR,
  IDENTIFY_SIZE,
  IdentifyControllerNvm,
  IdentifyNamespace,
  IdentifyNamespaceIndependent,
  IdentifySqe,
  IoCommandSetVector,
  Nmic,
  Nsfeat,
  namespaceDescriptors,
  namespaceList,
  Rescap,
  Status,
} from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Page } from '../controller-kind.ts';
import { copyLimits } from '../io/copy.ts';
import { COPY_RANGES, VERIFY_LIMIT, WRITE_UNCORRECTABLE_LIMIT } from '../limits.ts';
import type { Namespace } from '../namespace.ts';
import type { Request } from '../request.ts';
import { namespaceOf, namespacesAfter } from './identify.ts';

/** Deallocated blocks read as zeroes. */
const DLFEAT_ZEROES = 0x01;
/** Write Zeroes takes the deallocate bit. */
const DLFEAT_WRITE_ZEROES = 0x08;
/** No volatile write cache behind this namespace (Base 2.1, CNS 08h, NSFEAT bit 5). */
const NSFEAT_NO_WRITE_CACHE = 0x20;
const NSATTR_WRITE_PROTECTED = 0x01;

const RESCAP_ALL =
  Rescap.WriteExclusive |
  Rescap.ExclusiveAccess |
  Rescap.WriteExclusiveRegistrantsOnly |
  Rescap.ExclusiveAccessRegistrantsOnly |
  Rescap.WriteExclusiveAllRegistrants |
  Rescap.ExclusiveAccessAllRegistrants |
  Rescap.IgnoreExistingKey13;

/** What the Identify structures say of an inactive namespace. */
function zeroes(): Uint8Array {
  return new Uint8Array(IDENTIFY_SIZE);
}

/** All types of reservations, or none. */
function rescap({ reservations }: Namespace): number {
  if (reservations === null) return 0;
  return RESCAP_ALL | (reservations.persistent ? Rescap.PersistThroughPowerLoss : 0);
}

/** CNS 00h. */
export function identifyNamespace(controller: Controller, request: Request): Page {
  const namespace = namespaceOf(controller, request);
  if (typeof namespace === 'number') return namespace;
  return namespace === null ? zeroes() : namespacePage(namespace);
}

/** Identify Namespace of the NVM command set, which other sets share. */
export function namespacePage(namespace: Namespace): Uint8Array {
  return IdentifyNamespace.toBytes({
    nsze: namespace.blockCount,
    ncap: capacityOf(namespace),
    nuse: namespace.blockCount,
    nsfeat: namespace.thin ? Nsfeat.Thin : 0,
    nmic: Nmic.Shared,
    rescap: rescap(namespace),
    dlfeat: DLFEAT_ZEROES | (namespace.thin ? DLFEAT_WRITE_ZEROES : 0),
    ...copyLimits(namespace.blockSize),
    msrc: COPY_RANGES - 1,
    nvmcap: BigInt(namespace.blockCount) * BigInt(namespace.blockSize),
    anagrpid: namespace.anaGroupId,
    nsattr: namespace.writeProtected ? NSATTR_WRITE_PROTECTED : 0,
    nguid: namespace.nguid ?? new Uint8Array(16),
    eui64: namespace.eui64 ?? new Uint8Array(8),
    lbaf: [{ ms: 0, lbads: 31 - Math.clz32(namespace.blockSize), rp: 0 }],
  });
}

/** CNS 02h. */
export function identifyActiveList(controller: Controller, request: Request): Page {
  const nsids = namespacesAfter(controller, request);
  return typeof nsids === 'number' ? nsids : namespaceList(nsids);
}

/** CNS 03h. */
export function identifyDescriptors(controller: Controller, request: Request): Page {
  const namespace = namespaceOf(controller, request);
  if (typeof namespace === 'number') return namespace;
  if (namespace === null) return Status.InvalidNamespaceOrFormat | DNR;
  return namespaceDescriptors({
    uuid: namespace.uuid,
    csi: namespace.csi,
    ...(namespace.nguid === null ? {} : { nguid: namespace.nguid }),
    ...(namespace.eui64 === null ? {} : { eui64: namespace.eui64 }),
  });
}

/** Runs the page of the command set that the command names. */
export function byCommandSet(pages: ReadonlyMap<number, (controller: Controller, request: Request) => Page>) {
  return (controller: Controller, request: Request): Page => {
    const page = pages.get(IdentifySqe.csi.get(request.sqeView, request.sqeBase));
    return page === undefined ? Status.InvalidField | DNR : page(controller, request);
  };
}

/** CNS 07h: active namespaces of one command set. */
export function identifyCsActiveList(controller: Controller, request: Request): Page {
  const csi = IdentifySqe.csi.get(request.sqeView, request.sqeBase);
  const nsids = namespacesAfter(controller, request);
  if (typeof nsids === 'number') return nsids;
  return namespaceList(nsids.filter((nsid) => controller.namespace(nsid)?.csi === csi));
}

/** Blocks that can be written: less than there are when zones are not used to their end. */
function capacityOf({ zones, blockCount }: Namespace): number {
  return zones === null ? blockCount : zones.zoneCount * zones.zoneCapacity;
}

/** CNS 05h with CSI 0: protection information and extended formats, of which there are none (NVM 1.1, 4.1.5.3). */
export function identifyNamespaceNvm(controller: Controller, request: Request): Page {
  const namespace = namespaceOf(controller, request);
  return typeof namespace === 'number' ? namespace : zeroes();
}

/** Get LBA Status can return allocated blocks. */
const AOCS_ALLOCATED = 0x01;

/** CNS 06h with CSI 0: no size limits on Write Zeroes and Dataset Management. */
export function identifyControllerNvm(): Page {
  return IdentifyControllerNvm.toBytes({ vsl: VERIFY_LIMIT, wusl: WRITE_UNCORRECTABLE_LIMIT, aocs: AOCS_ALLOCATED });
}

/** CNS 08h. */
export function identifyNamespaceIndependent(controller: Controller, request: Request): Page {
  const namespace = namespaceOf(controller, request);
  if (typeof namespace === 'number') return namespace;
  if (namespace === null) return zeroes();
  return IdentifyNamespaceIndependent.toBytes({
    nsfeat: namespace.volatileWriteCache ? 0 : NSFEAT_NO_WRITE_CACHE,
    nmic: Nmic.Shared,
    rescap: rescap(namespace),
    anagrpid: namespace.anaGroupId,
    nsattr: namespace.writeProtected ? NSATTR_WRITE_PROTECTED : 0,
    nrdy: 1,
  });
}

/** CNS 1Ch: one combination, of all command sets. */
export function identifyIoCommandSets(controller: Controller, request: Request): Page {
  const cntid = IdentifySqe.cntid.get(request.sqeView, request.sqeBase);
  if (cntid !== 0xffff && controller.subsystem?.controllers.get(cntid) === undefined) return Status.InvalidField | DNR;
  const page = zeroes();
  IoCommandSetVector.emit(new DataView(page.buffer), 0, { nvm: 1, zns: 1 });
  return page;
}
