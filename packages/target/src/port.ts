import { NvbraidError } from '@nvbraid/base';
import { ADRFAM_NAMES, AnaState, TRTYPE_NAMES, Treq } from '@nvbraid/wire';
import { TRADDR_BYTES, TRSVCID_BYTES } from './limits.ts';
import { checkAnaGroupId } from './namespace.ts';
import type { Subsystem } from './subsystem.ts';
import type { Target } from './target.ts';

export interface PortOptions {
  /** 1 … 65535; the lowest that is free when absent. */
  readonly portId?: number;
  /** As in configfs: tcp, mptcp, rdma, fc, loop. */
  readonly trtype: string;
  /** As in configfs: ipv4, ipv6, ib, fc, loop. */
  readonly adrfam: string;
  readonly traddr: string;
  readonly trsvcid: string;
  /** Transport requirements of the discovery log entry. Default: nothing asked, SQ flow control may be disabled. */
  readonly treq?: number;
  /** TSAS byte 0 with TCP: `Sectype`. */
  readonly sectype?: number;
}

interface AnaGroupOnPort {
  state: AnaState;
  changeCount: number;
}

/** Where hosts reach subsystems: one listening address. Access states belong to a port and a group. */
export class Port {
  readonly target: Target;
  readonly portId: number;
  readonly trtype: number;
  readonly adrfam: number;
  readonly traddr: string;
  readonly trsvcid: string;
  readonly treq: number;
  readonly sectype: number;
  /** Changed by the target only. */
  readonly subsystems = new Set<Subsystem>();
  readonly #anaGroups = new Map<number, AnaGroupOnPort>([[1, { state: AnaState.Optimized, changeCount: 1 }]]);

  /** Made by `Target.addPort`. @throws NvbraidError EINVAL */
  constructor(target: Target, portId: number, options: PortOptions) {
    this.target = target;
    this.portId = portId;
    this.trtype = named(TRTYPE_NAMES, options.trtype, 'trtype');
    this.adrfam = named(ADRFAM_NAMES, options.adrfam, 'adrfam');
    this.traddr = options.traddr;
    this.trsvcid = options.trsvcid;
    this.treq = options.treq ?? Treq.DisableSqflow;
    this.sectype = options.sectype ?? 0;
    fits(this.traddr, TRADDR_BYTES, 'traddr');
    fits(this.trsvcid, TRSVCID_BYTES, 'trsvcid');
  }

  /** State of a group on this port; groups that nobody has set are optimized. */
  anaState(grpid: number): AnaState {
    return this.#anaGroups.get(grpid)?.state ?? AnaState.Optimized;
  }

  /** How often the state of the group has been set; 0 when never. */
  anaChangeCount(grpid: number): number {
    return this.#anaGroups.get(grpid)?.changeCount ?? 0;
  }

  /** Groups that the ANA log lists even when they are empty: group 1, and those whose state was set. */
  anaGroupIds(): IterableIterator<number> {
    return this.#anaGroups.keys();
  }

  /** Tells the controllers on this port and the runtime. @throws NvbraidError EINVAL */
  setAnaState(grpid: number, state: AnaState): void {
    checkAnaGroupId(grpid);
    const group = this.#anaGroups.get(grpid);
    if ((group?.state ?? AnaState.Optimized) === state && group !== undefined) return;
    if (group === undefined) this.#anaGroups.set(grpid, { state, changeCount: 1 });
    else {
      group.state = state;
      group.changeCount++;
    }
    for (const subsystem of this.subsystems) subsystem.anaChanged(this);
  }
}

function named(names: Readonly<Record<number, string>>, name: string, what: string): number {
  const entry = Object.entries(names).find(([, spelled]) => spelled === name);
  if (entry === undefined) throw new NvbraidError('EINVAL', `unknown ${what}: ${name}`);
  return Number(entry[0]);
}

const encoder = new TextEncoder();

function fits(text: string, bytes: number, what: string): void {
  if (encoder.encode(text).length > bytes) throw new NvbraidError('EINVAL', `${what} is longer than ${bytes} bytes`);
}
