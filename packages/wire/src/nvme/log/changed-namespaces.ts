import { NAMESPACE_LIST_MAX } from '../../limits.ts';
import { NSID_ALL, namespaceList, parseNamespaceList } from '../identify/namespace-list.ts';

/**
 * Changed Attached Namespace List log page (LID 04h; Base 2.1, 5.1.12.1.5): 4096 bytes in the form of a Namespace List;
 * more than 1024 changes are told by the single entry FFFFFFFFh.
 */
export function changedNamespaces(nsids: readonly number[]): Uint8Array {
  return namespaceList(nsids.length > NAMESPACE_LIST_MAX ? [NSID_ALL] : nsids);
}

/** The changed namespaces, or 'all' when there are more than the page holds. */
export function parseChangedNamespaces(page: Uint8Array): number[] | 'all' {
  const nsids = parseNamespaceList(page);
  return nsids[0] === NSID_ALL ? 'all' : nsids;
}
