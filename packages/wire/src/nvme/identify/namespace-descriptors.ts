import { assert } from '@nvbraid/base';
import { layout, u8, uuid as uuidField, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';
import { IDENTIFY_SIZE } from './identify-sqe.ts';

/*
 * Namespace Identification Descriptor list (CNS 03h; Base 2.1, 5.1.13.2.3): descriptors one after the other, ended by
 * one of length 0 or by the end of the page.
 *
 *   0      1      2 … 3      4 …
 *   nidt   nidl   reserved   nid (nidl bytes)
 */
export const NamespaceDescriptor = layout('NamespaceDescriptor', 4, { nidt: u8(0), nidl: u8(1) });
export type NamespaceDescriptor = ValueOf<typeof NamespaceDescriptor>;

/** Namespace Identifier Type. */
export const Nidt = { Eui64: 1, Nguid: 2, Uuid: 3, Csi: 4 } as const;
const NID_LENGTH: Readonly<Record<number, number>> = { 1: 8, 2: 16, 3: 16, 4: 1 };

/** The identifiers of one namespace; those that it does not have are absent. */
export interface NamespaceIds {
  readonly eui64?: Uint8Array;
  readonly nguid?: Uint8Array;
  readonly uuid?: string;
  /** Command set; must be told by controllers that support others than the NVM command set. */
  readonly csi?: number;
}

const Uuid = layout('UUID', 16, { uuid: uuidField(0) });

/** The 4096 bytes of the descriptor list. */
export function namespaceDescriptors(ids: NamespaceIds): Uint8Array {
  const page = new Uint8Array(IDENTIFY_SIZE);
  const view = new DataView(page.buffer);
  let at = 0;
  const add = (nidt: number, nid: Uint8Array): void => {
    assert(nid.length === NID_LENGTH[nidt], `namespace identifier of type ${nidt} with ${nid.length} bytes`);
    NamespaceDescriptor.emit(view, at, { nidt, nidl: nid.length });
    page.set(nid, at + 4);
    at += 4 + nid.length;
  };
  if (ids.eui64 !== undefined) add(Nidt.Eui64, ids.eui64);
  if (ids.nguid !== undefined) add(Nidt.Nguid, ids.nguid);
  if (ids.uuid !== undefined) add(Nidt.Uuid, Uuid.toBytes({ uuid: ids.uuid }));
  if (ids.csi !== undefined) add(Nidt.Csi, Uint8Array.of(ids.csi));
  return page;
}

/** Types that are unknown are skipped; a known one of the wrong length, twice, or beyond the end makes all unparsable. */
export function parseNamespaceDescriptors(list: Uint8Array): Parsed<NamespaceIds> {
  const ids: { eui64?: Uint8Array; nguid?: Uint8Array; uuid?: string; csi?: number } = {};
  let seen = 0;
  let at = 0;
  while (at + 4 <= list.length) {
    const nidt = list[at]!;
    const nidl = list[at + 1]!;
    if (nidl === 0) break;
    if (at + 4 + nidl > list.length) return unparsable(`descriptor at ${at} lies outside the list`);
    const nid = list.slice(at + 4, at + 4 + nidl);
    at += 4 + nidl;
    const expected = NID_LENGTH[nidt];
    if (expected === undefined) continue;
    if (nidl !== expected) return unparsable(`descriptor of type ${nidt} has ${nidl} bytes`);
    if ((seen & (1 << nidt)) !== 0) return unparsable(`two descriptors of type ${nidt}`);
    seen |= 1 << nidt;
    if (nidt === Nidt.Eui64) ids.eui64 = nid;
    else if (nidt === Nidt.Nguid) ids.nguid = nid;
    else if (nidt === Nidt.Uuid) ids.uuid = Uuid.uuid.get(new DataView(nid.buffer), 0);
    else ids.csi = nid[0]!;
  }
  return parsed(ids);
}
