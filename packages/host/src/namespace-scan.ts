import {
  Cns,
  Csi,
  DNR,
  IdentifyNamespace,
  Lid,
  NAMESPACE_LIST_MAX,
  type NamespaceIds,
  parseNamespaceDescriptors,
  parseNamespaceList,
} from '@nvbraid/wire';
import type { AdminChannel } from './admin-channel.ts';
import { getLogPageRequest, identifyRequest } from './admin-commands.ts';
import { DESCRIPTORS_SINCE } from './controller-steps.ts';
import type { HostRequest } from './host-request.ts';
import { NAMESPACES_MAX } from './limits.ts';
import { type NamespaceInfo, namespaceInfo } from './namespace-info.ts';
import { NvmeError } from './nvme-error.ts';
import type { Steps } from './task.ts';

/** Command sets whose namespaces are blocks; others mean something else by the same structures. */
const KNOWN_SETS: ReadonlySet<number> = new Set([Csi.Nvm, Csi.Zoned]);

/** Reads the list of changed namespaces, which lets the controller tell of the next change. */
export function* acknowledgeNamespaceChange(admin: AdminChannel): Steps {
  yield* admin.run(
    getLogPageRequest(Lid.ChangedNamespaceList, 4 * NAMESPACE_LIST_MAX),
    'Get Log Page (changed namespaces)',
  );
}

/**
 * All active namespaces of the controller that can be used, by nsid.
 * @param before those that are in use: what the controller cannot say about them for a passing reason ends the scan,
 *   lest one be given up, or taken for what it is no more
 */
export function* scanNamespaces(
  admin: AdminChannel,
  vs: number,
  before: ReadonlyMap<number, NamespaceInfo>,
): Steps<Map<number, NamespaceInfo>> {
  const namespaces = new Map<number, NamespaceInfo>();
  for (const nsid of yield* activeNamespaces(admin)) {
    const info = yield* identifyNamespace(admin, nsid, vs, before.has(nsid));
    if (info !== null) namespaces.set(nsid, info);
  }
  return namespaces;
}

function* activeNamespaces(admin: AdminChannel): Steps<number[]> {
  const all: number[] = [];
  let last = 0;
  for (;;) {
    const request = yield* admin.mustRun(
      identifyRequest(Cns.ActiveNamespaceList, last),
      `Identify active namespaces after ${last}`,
    );
    const page = parseNamespaceList(request.memory.bytes);
    for (const nsid of page) {
      if (nsid <= last) admin.fail(`the list of active namespaces is not ascending at ${nsid}`);
      last = nsid;
      if (all.length < NAMESPACES_MAX) all.push(nsid);
    }
    if (page.length < NAMESPACE_LIST_MAX || all.length >= NAMESPACES_MAX) return all;
  }
}

function* identifyNamespace(
  admin: AdminChannel,
  nsid: number,
  vs: number,
  inUse: boolean,
): Steps<NamespaceInfo | null> {
  const what = `Identify namespace ${nsid}`;
  const request = yield* admin.run(identifyRequest(Cns.Namespace, nsid), what);
  // It may have gone since the list was read.
  if (!said(request, inUse, what)) return null;
  const identify = IdentifyNamespace.parse(request.memory.view, 0);
  const ids = yield* namespaceIds(admin, nsid, identify, vs, inUse);
  return KNOWN_SETS.has(ids.csi ?? Csi.Nvm) ? namespaceInfo(nsid, identify, ids) : null;
}

/** False when the controller refuses to say. @throws NvmeError if asking again may help, and matters */
function said(request: HostRequest, inUse: boolean, what: string): boolean {
  const { status } = request;
  if (status === 0) return true;
  if (inUse && (status & DNR) === 0) throw new NvmeError(what, status);
  return false;
}

function* namespaceIds(
  admin: AdminChannel,
  nsid: number,
  identify: IdentifyNamespace,
  vs: number,
  inUse: boolean,
): Steps<NamespaceIds> {
  if (vs >= DESCRIPTORS_SINCE) {
    const what = `Identify descriptors of namespace ${nsid}`;
    const list = yield* admin.run(identifyRequest(Cns.NamespaceDescriptorList, nsid), what);
    if (said(list, inUse, what)) {
      const ids = parseNamespaceDescriptors(list.memory.bytes);
      if (ids.ok) return ids.value;
    }
  }
  return {
    ...(identify.nguid.some((byte) => byte !== 0) ? { nguid: identify.nguid } : {}),
    ...(identify.eui64.some((byte) => byte !== 0) ? { eui64: identify.eui64 } : {}),
  };
}
