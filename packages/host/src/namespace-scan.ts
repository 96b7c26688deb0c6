import {
  Cns,
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
import { NAMESPACES_MAX } from './limits.ts';
import { type NamespaceInfo, namespaceInfo } from './namespace-info.ts';
import type { Steps } from './task.ts';

/** Reads the list of changed namespaces, which lets the controller tell of the next change. */
export function* acknowledgeNamespaceChange(admin: AdminChannel): Steps {
  yield* admin.run(
    getLogPageRequest(Lid.ChangedNamespaceList, 4 * NAMESPACE_LIST_MAX),
    'Get Log Page (changed namespaces)',
  );
}

/** All active namespaces of the controller that can be used, by nsid. */
export function* scanNamespaces(admin: AdminChannel, vs: number): Steps<Map<number, NamespaceInfo>> {
  const namespaces = new Map<number, NamespaceInfo>();
  for (const nsid of yield* activeNamespaces(admin)) {
    const info = yield* identifyNamespace(admin, nsid, vs);
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

function* identifyNamespace(admin: AdminChannel, nsid: number, vs: number): Steps<NamespaceInfo | null> {
  const request = yield* admin.run(identifyRequest(Cns.Namespace, nsid), `Identify namespace ${nsid}`);
  // It may have gone since the list was read.
  if (request.status !== 0) return null;
  const identify = IdentifyNamespace.parse(request.memory.view, 0);
  return namespaceInfo(nsid, identify, yield* namespaceIds(admin, nsid, identify, vs));
}

function* namespaceIds(
  admin: AdminChannel,
  nsid: number,
  identify: IdentifyNamespace,
  vs: number,
): Steps<NamespaceIds> {
  if (vs >= DESCRIPTORS_SINCE) {
    const list = yield* admin.run(
      identifyRequest(Cns.NamespaceDescriptorList, nsid),
      `Identify descriptors of namespace ${nsid}`,
    );
    if (list.status === 0) {
      const ids = parseNamespaceDescriptors(list.memory.bytes);
      if (ids.ok) return ids.value;
    }
  }
  return {
    ...(identify.nguid.some((byte) => byte !== 0) ? { nguid: identify.nguid } : {}),
    ...(identify.eui64.some((byte) => byte !== 0) ? { eui64: identify.eui64 } : {}),
  };
}
