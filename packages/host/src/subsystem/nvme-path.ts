import { AccessState, type ActiveCounter, Path } from '@nvbraid/multipath';
import { AnaState } from '@nvbraid/wire';
import type { HostController } from '../host-controller.ts';
import type { NamespaceInfo } from '../namespace-info.ts';
import type { NamespaceHead } from './namespace-head.ts';

/** A namespace as one controller offers it: one way to the head's disk. */
export class NvmePath extends Path {
  readonly controller: HostController;
  readonly namespaceHead: NamespaceHead;
  /** As the controller said last. */
  info: NamespaceInfo;
  /** 0 while the log has not named the group. */
  anaGroupId = 0;
  /** Null where the controller reports no ANA states. */
  anaState: AnaState | null = null;
  /** The state is not known, or is doubted since a command was refused for it: not used until the log was read again. */
  anaPending = false;
  /** Cleared while its shape differs from the head's. */
  ready = true;

  /** @param name e.g. nvme0c1n1 */
  constructor(
    name: string,
    controller: HostController,
    head: NamespaceHead,
    info: NamespaceInfo,
    nrActive: ActiveCounter,
  ) {
    super({ name, nrActive, disk: { name, capacityBytes: info.blockCount * info.blockSize, added: true } });
    this.controller = controller;
    this.namespaceHead = head;
    this.info = info;
  }

  get nsid(): number {
    return this.info.nsid;
  }

  /** The group's state, or optimized where there is none. */
  setAna(grpid: number, state: AnaState | null): void {
    this.anaGroupId = grpid;
    this.anaState = state;
    this.anaPending = false;
    this.accessState = accessStateOf(state);
  }
}

function accessStateOf(state: AnaState | null): AccessState {
  if (state === null || state === AnaState.Optimized) return AccessState.Optimized;
  return state === AnaState.NonOptimized ? AccessState.NonOptimized : AccessState.Other;
}
