import type { Extent, NbdExport } from '@nvbraid/nbd';
import { AdminOpcode, LbaStatusAction, LbaStatusDescriptor, LbaStatusList, Oacs, Status } from '@nvbraid/wire';
import type { HostController } from './host-controller.ts';
import type { HostHead } from './host-head.ts';
import { ALLOCATION_QUERY_BYTES } from './host-limits.ts';

/** RL of Get LBA Status has 16 bits; longer ranges are asked for up to the end, and cut here. */
const RL_MAX = 0xffff;
/** CMPC: the whole range was looked at. */
const RANGE_DONE = 2;
/** DLFEAT, bits 2:0: deallocated blocks read as zeroes. */
const READS_ZEROES = 1;

/**
 * What of a head is allocated, as NBD wants to know it: by Get LBA Status (NVM 1.1, 4.2.1), of whichever controller
 * answers it. Each question is one command of bounded size, and one is under way at a time: an NBD client may ask a lot,
 * and the admin queue is there for others, too. Where nobody can tell, all counts as allocated, which is never wrong.
 */
export function headAllocation(head: HostHead): NonNullable<NbdExport['allocation']> {
  /** Controllers that know the command, but not this question. */
  const ignorant = new WeakSet<HostController>();
  let last: Promise<unknown> = Promise.resolve();
  return (offset, length) => {
    const answer = last.then(() => extentsOf(head, ignorant, offset, length));
    last = answer.catch(() => {});
    return answer;
  };
}

async function extentsOf(
  head: HostHead,
  ignorant: WeakSet<HostController>,
  offset: number,
  length: number,
): Promise<readonly Extent[]> {
  const { blockSize, nsid } = head;
  const slba = offset / blockSize;
  const blocks = length / blockSize;
  for (const controller of head.subsystem.controllers) {
    if (head.gone !== null) throw head.gone;
    if (ignorant.has(controller) || !mayKnow(controller, nsid)) continue;
    const page = await ask(controller, ignorant, nsid, slba, blocks);
    // Meanwhile another namespace may have taken the number.
    if (head.gone !== null) throw head.gone;
    const extents = page === null ? null : parse(page, slba, blocks, blockSize, readsZeroes(head));
    if (extents !== null) return extents;
  }
  return [{ length, hole: false, zero: false }];
}

function mayKnow(controller: HostController, nsid: number): boolean {
  const { identify } = controller.core;
  if (controller.state !== 'live' || identify === null || !controller.namespaces.has(nsid)) return false;
  return (identify.oacs & Oacs.GetLbaStatus) !== 0;
}

/** What the controller says; null when it says nothing of use. */
async function ask(
  controller: HostController,
  ignorant: WeakSet<HostController>,
  nsid: number,
  slba: number,
  blocks: number,
): Promise<Uint8Array | null> {
  try {
    const { status, data } = await controller.admin({
      opc: AdminOpcode.GetLbaStatus,
      nsid,
      cdw10: slba >>> 0,
      cdw11: Math.floor(slba / 2 ** 32),
      cdw12: ALLOCATION_QUERY_BYTES / 4 - 1,
      cdw13: (blocks <= RL_MAX ? blocks : 0) | (LbaStatusAction.Allocated << 24),
      dataLength: ALLOCATION_QUERY_BYTES,
    });
    const code = status & 0x7ff;
    // The action is newer than the command.
    if (code === Status.InvalidField || code === Status.InvalidOpcode) ignorant.add(controller);
    return status === 0 ? data : null;
  } catch {
    return null; // the controller is lost; another one may answer
  }
}

function readsZeroes(head: HostHead): boolean {
  return (head.identify.dlfeat & 7) === READS_ZEROES;
}

/** Null when the list makes no sense. */
function parse(
  page: Uint8Array,
  slba: number,
  blocks: number,
  blockSize: number,
  zero: boolean,
): readonly Extent[] | null {
  if (page.length < LbaStatusList.size) return null;
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  const { nlsd, cmpc } = LbaStatusList.parse(view, 0);
  if (nlsd * LbaStatusDescriptor.size > page.length - LbaStatusList.size) return null;
  const end = slba + blocks;
  const extents: Extent[] = [];
  let at = slba;
  const extend = (to: number, hole: boolean): void => {
    const upTo = Math.min(to, end);
    if (upTo > at) extents.push({ length: (upTo - at) * blockSize, hole, zero: hole && zero });
    at = Math.max(at, upTo);
  };
  let before = 0;
  for (let i = 0; i < nlsd; i++) {
    const { dslba, nlb } = LbaStatusDescriptor.parse(view, LbaStatusList.size + i * LbaStatusDescriptor.size);
    // In order and apart: what overlaps, or goes back, says nothing that one may rely on.
    if (dslba < before) return null;
    before = dslba + nlb;
    extend(dslba, true);
    extend(before, false);
  }
  // Beyond the last descriptor of a list that was cut short nothing is known: the client asks again from there.
  if (cmpc === RANGE_DONE) extend(end, true);
  return extents.length === 0 ? null : extents;
}
