import { assert } from '@nvbraid/base';
import { NAMESPACE_LIST_MAX } from '../../limits.ts';
import { IDENTIFY_SIZE } from './identify-sqe.ts';

/** nsid that names all namespaces. */
export const NSID_ALL = 0xffffffff;
/** First nsid that cannot be that of a namespace. */
export const NSID_LIMIT = 0xfffffffe;

/** The 4096 bytes of a Namespace List: the identifiers in ascending order, then zeroes. */
export function namespaceList(nsids: readonly number[]): Uint8Array {
  assert(nsids.length <= NAMESPACE_LIST_MAX, 'more namespaces than a list holds');
  const page = new Uint8Array(IDENTIFY_SIZE);
  const view = new DataView(page.buffer);
  for (let i = 0; i < nsids.length; i++) view.setUint32(4 * i, nsids[i]!, true);
  return page;
}

/** The identifiers before the first zero. Says nothing of their order; a peer may have sent anything. */
export function parseNamespaceList(list: Uint8Array): number[] {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const nsids: number[] = [];
  for (let at = 0; at + 4 <= list.length && nsids.length < NAMESPACE_LIST_MAX; at += 4) {
    const nsid = view.getUint32(at, true);
    if (nsid === 0) break;
    nsids.push(nsid);
  }
  return nsids;
}
