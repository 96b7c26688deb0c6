import { assert } from '@nvbraid/base';
import { CONTROLLER_LIST_MAX } from '../../limits.ts';
import { IDENTIFY_SIZE } from './identify-sqe.ts';

/** The 4096 bytes of a Controller List: their number, then the identifiers in ascending order. */
export function controllerList(cntlids: readonly number[]): Uint8Array {
  assert(cntlids.length <= CONTROLLER_LIST_MAX, 'more controllers than a list holds');
  const page = new Uint8Array(IDENTIFY_SIZE);
  const view = new DataView(page.buffer);
  view.setUint16(0, cntlids.length, true);
  for (let i = 0; i < cntlids.length; i++) view.setUint16(2 + 2 * i, cntlids[i]!, true);
  return page;
}

/** As many identifiers as the list says and holds. */
export function parseControllerList(list: Uint8Array): number[] {
  if (list.length < 2) return [];
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  const count = Math.min(view.getUint16(0, true), CONTROLLER_LIST_MAX, (list.length >> 1) - 1);
  return Array.from({ length: count }, (_, i) => view.getUint16(2 + 2 * i, true));
}
