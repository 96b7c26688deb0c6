import { bits, layout, type Names, u16, u32, u64, type ValueOf } from '../../layout.ts';
import { type Parsed, parsed, unparsable } from '../../parsed.ts';

/*
 * Asymmetric Namespace Access log page (LID 0Ch; Base 2.1, 5.1.12.1.13): a header of 16 bytes, then one descriptor per
 * group, each followed by the identifiers of its namespaces, 4 bytes each, ascending.
 *
 *   0 … 7    8 … 9   10 … 15
 *   chgcnt   ngrps   reserved
 *
 *   0 … 3   4 … 7    8 … 15   16      17 … 31    32 …
 *   grpid   nnsids   chgcnt   state   reserved   nsid, nsid, …
 */
export const AnaHeader = layout('AnaHeader', 16, { chgcnt: u64(0), ngrps: u16(8) });
export type AnaHeader = ValueOf<typeof AnaHeader>;
export const ANA_HEADER_SIZE = 16;

/** ANA states (Base 2.1, 8.1.1). */
export const AnaState = {
  Optimized: 0x1,
  NonOptimized: 0x2,
  Inaccessible: 0x3,
  PersistentLoss: 0x4,
  Change: 0xf,
} as const;
export type AnaState = (typeof AnaState)[keyof typeof AnaState];

/** As Linux spells them in sysfs and configfs. */
export const ANA_STATE_NAMES: Names = {
  1: 'optimized',
  2: 'non-optimized',
  3: 'inaccessible',
  4: 'persistent-loss',
  15: 'change',
};

export function isAnaState(value: number): value is AnaState {
  return ANA_STATE_NAMES[value] !== undefined;
}

export const AnaGroupDescriptor = layout('AnaGroup', 32, {
  grpid: u32(0),
  nnsids: u32(4),
  chgcnt: u64(8),
  state: bits(16, 0, 4, 1, { names: ANA_STATE_NAMES }),
});
export type AnaGroupDescriptor = ValueOf<typeof AnaGroupDescriptor>;
export const ANA_GROUP_SIZE = 32;

export interface AnaGroup {
  readonly grpid: number;
  readonly chgcnt: number;
  readonly state: AnaState;
  /** Ascending. Empty when only groups were asked for. */
  readonly nsids: readonly number[];
}

export interface AnaLog {
  readonly chgcnt: number;
  readonly groups: readonly AnaGroup[];
}

/** Bytes of the log page with `namespaces` namespaces in `groups` groups: what a host must have room for. */
export function anaLogSize(groups: number, namespaces: number): number {
  return ANA_HEADER_SIZE + groups * ANA_GROUP_SIZE + 4 * namespaces;
}

/** @param groupsOnly leaves the namespaces out, as lsp bit 0 (RGO) asks for. */
export function anaLog(log: AnaLog, groupsOnly = false): Uint8Array {
  let namespaces = 0;
  if (!groupsOnly) for (const group of log.groups) namespaces += group.nsids.length;
  const page = new Uint8Array(anaLogSize(log.groups.length, namespaces));
  const view = new DataView(page.buffer);
  AnaHeader.emit(view, 0, { chgcnt: log.chgcnt, ngrps: log.groups.length });
  let at = ANA_HEADER_SIZE;
  for (const group of log.groups) {
    const nsids = groupsOnly ? [] : group.nsids;
    AnaGroupDescriptor.emit(view, at, {
      grpid: group.grpid,
      nnsids: nsids.length,
      chgcnt: group.chgcnt,
      state: group.state,
    });
    at += ANA_GROUP_SIZE;
    for (const nsid of nsids) {
      view.setUint32(at, nsid, true);
      at += 4;
    }
  }
  return page;
}

/**
 * Reads a log page that a peer sent. What it allocates is bounded by the length of `page`.
 * @param anagrpmax largest valid group identifier, from Identify Controller
 */
export function parseAnaLog(page: Uint8Array, anagrpmax = 0xffffffff): Parsed<AnaLog> {
  if (page.length < ANA_HEADER_SIZE) return unparsable('shorter than its header');
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { chgcnt, ngrps } = AnaHeader.parse(view, 0);
  const groups: AnaGroup[] = [];
  const seen = new Set<number>();
  let at = ANA_HEADER_SIZE;
  for (let i = 0; i < ngrps; i++) {
    if (at + ANA_GROUP_SIZE > page.length) return unparsable(`group ${i} of ${ngrps} lies outside the log`);
    const { grpid, nnsids, chgcnt: groupChgcnt, state } = AnaGroupDescriptor.parse(view, at);
    at += ANA_GROUP_SIZE;
    if (grpid === 0 || grpid > anagrpmax) return unparsable(`group identifier ${grpid} is not 1 to ${anagrpmax}`);
    if (seen.has(grpid)) return unparsable(`group ${grpid} appears twice`);
    seen.add(grpid);
    if (!isAnaState(state)) return unparsable(`group ${grpid} has the unknown state ${state}`);
    if (nnsids > (page.length - at) / 4) return unparsable(`the namespaces of group ${grpid} lie outside the log`);
    const nsids: number[] = [];
    for (let k = 0; k < nnsids; k++, at += 4) {
      const nsid = view.getUint32(at, true);
      if (nsid === 0 || (k > 0 && nsid <= nsids[k - 1]!))
        return unparsable(`the namespaces of group ${grpid} are not ascending`);
      nsids.push(nsid);
    }
    groups.push({ grpid, chgcnt: groupChgcnt, state, nsids });
  }
  return parsed({ chgcnt, groups });
}
