import { DNR, GetLbaStatusSqe, LbaStatusAction, LbaStatusDescriptor, LbaStatusList, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import { type AdminCommand, CONTROLLER_COMMAND } from '../controller-kind.ts';
import { LBA_STATUS_BYTES } from '../limits.ts';
import type { Namespace } from '../namespace.ts';
import type { Request } from '../request.ts';
import { namespaceOf, replyLength, replyPage } from './identify.ts';

/** What each action asks the device for. */
const KINDS: ReadonlyMap<number, 'allocated' | 'unrecoverable'> = new Map([
  [LbaStatusAction.Allocated, 'allocated'],
  // Nothing is found by looking that is not known: the marks are all there are.
  [LbaStatusAction.Untracked, 'unrecoverable'],
  [LbaStatusAction.Tracked, 'unrecoverable'],
]);
const NLB_MAX = 0xffffffff;

/** Get LBA Status (NVM 1.1, 4.2.1). */
export const getLbaStatus: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  admit(_controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    if (!KINDS.has(GetLbaStatusSqe.atype.get(view, base))) return Status.InvalidField | DNR;
    const bytes = (GetLbaStatusSqe.mndw.get(view, base) + 1) * 4;
    if (bytes < LbaStatusList.size) return Status.InvalidField | DNR;
    // MNDW is what the host has room for; who asks for more than we return at once goes on from the last descriptor.
    return replyLength(request, Math.min(bytes, LBA_STATUS_BYTES));
  },
  run(controller, request) {
    const namespace = namespaceOf(controller, request);
    if (typeof namespace === 'number') return namespace;
    if (namespace === null) return Status.InvalidNamespaceOrFormat | DNR;
    const { sqeView: view, sqeBase: base } = request;
    const slba = GetLbaStatusSqe.slba.get(view, base);
    const length = GetLbaStatusSqe.rl.get(view, base) || namespace.blockCount - slba;
    if (slba >= namespace.blockCount || slba + length > namespace.blockCount) return Status.LbaOutOfRange | DNR;
    if (replyPage(request, statusPage(controller, namespace, request, slba, length), 0)) request.complete(0);
    return 0;
  },
};

function statusPage(
  controller: Controller,
  namespace: Namespace,
  request: Request,
  slba: number,
  length: number,
): Uint8Array {
  const room = Math.floor((request.dataLength - LbaStatusList.size) / LbaStatusDescriptor.size);
  const kind = KINDS.get(GetLbaStatusSqe.atype.get(request.sqeView, request.sqeBase))!;
  // One more than fits says whether there is more.
  const ranges = cut(rangesOf(controller, namespace, kind, slba, length, room + 1));
  const count = Math.min(room, ranges.length);
  const page = new Uint8Array(LbaStatusList.size + count * LbaStatusDescriptor.size);
  const view = new DataView(page.buffer);
  LbaStatusList.emit(view, 0, { nlsd: count, cmpc: ranges.length > room ? 1 : 2 });
  for (let i = 0; i < count; i++) {
    const [dslba, nlb] = ranges[i]!;
    LbaStatusDescriptor.emit(view, LbaStatusList.size + i * LbaStatusDescriptor.size, { dslba, nlb });
  }
  return page;
}

function rangesOf(
  controller: Controller,
  namespace: Namespace,
  kind: 'allocated' | 'unrecoverable',
  slba: number,
  blocks: number,
  limit: number,
): (readonly [slba: number, blocks: number])[] {
  const { lbaRanges } = controller.target.hooks;
  // Who does not know what is allocated says that all is.
  if (lbaRanges === undefined) return kind === 'allocated' ? [[slba, blocks]] : [];
  return lbaRanges(namespace, kind, slba, blocks, limit);
}

/** NLB of a descriptor has 32 bits. */
function cut(ranges: (readonly [slba: number, blocks: number])[]): (readonly [slba: number, blocks: number])[] {
  return ranges.flatMap(([slba, blocks]) => {
    const parts: [number, number][] = [];
    for (let at = 0; at < blocks; at += NLB_MAX) parts.push([slba + at, Math.min(NLB_MAX, blocks - at)]);
    return parts;
  });
}
