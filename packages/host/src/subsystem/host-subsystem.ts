import { type Clock, NEVER, NvbraidError } from '@nvbraid/base';
import { ActiveCounter, Iopolicy } from '@nvbraid/multipath';
import { type AnaLog, Cmic, Nmic } from '@nvbraid/wire';
import type { AsyncEvent } from '../async-events.ts';
import type { HostControllerEvents, HostControllerOptions, HostPlatform } from '../controller-interface.ts';
import type { HostControllerState } from '../controller-states.ts';
import { HostController } from '../host-controller.ts';
import { TRANSFER_BYTES_MAX } from '../limits.ts';
import { type NamespaceInfo, sameNamespace } from '../namespace-info.ts';
import { resetAllLost, resetEvent } from './cross-reset.ts';
import { Fences } from './fences.ts';
import { NamespaceHead } from './namespace-head.ts';
import { NamespaceRegistry, sameIds } from './namespace-registry.ts';
import { NvmePath } from './nvme-path.ts';

export interface HostSubsystemOptions {
  readonly nqn: string;
  /** Number of the subsystem in names of heads and paths, as in /dev: nvme0n1, nvme0c1n1. Default 0. */
  readonly instance?: number;
  /** numa (default), round-robin, queue-depth or service-time. */
  readonly iopolicy?: string;
  /**
   * Commands that change blocks and whose fate is unknown go another way only after their old association is over for
   * certain. Default true.
   */
  readonly safeFailover?: boolean;
  /** How long a head outlives its last path, in seconds. Default 0. */
  readonly delayedRemovalSecs?: number;
  readonly nodeCount?: number;
  /** Numbers of controllers in names: the first, and from one to the next. Default 1 and 1. */
  readonly controllerNumbers?: ControllerNumbers;
}

export interface ControllerNumbers {
  readonly first: number;
  readonly step: number;
}

/** What a subsystem tells. Called synchronously: what listeners do must wait until the call has returned. */
export interface HostSubsystemEvents {
  /** A head is there: its first path has come. */
  headAdded?(head: NamespaceHead): void;
  /** Its disk is gone, what was queued has failed. */
  headRemoved?(head: NamespaceHead): void;
  /** Size, write protection or another property has changed. */
  headChanged?(head: NamespaceHead): void;
  /** A path has come, gone, or can be used or not. */
  pathState?(head: NamespaceHead, path: NvmePath): void;
  anaChange?(path: NvmePath, before: number | null): void;
  /** A command goes another way because of what happened to it on `path`. */
  failover?(head: NamespaceHead, path: NvmePath, status: number): void;
  /** Commands are held back until the end of an association is proven. */
  fenced?(cntlid: number, untilMs: number): void;
  log?(message: string): void;
  /** There is work: `tick` is to be called soon, but not from within this call. */
  wake?(): void;
}

interface Member {
  readonly controller: HostController;
  readonly inner: HostControllerEvents;
  /** Shared by all namespaces: what limits them is the controller's queues. */
  readonly nrActive: ActiveCounter;
  readonly index: number;
  readonly paths: Map<number, NvmePath>;
}

/**
 * A subsystem as this host sees it: its controllers, and a head for each namespace that at least one of them offers. Paths
 * come and go with what the controllers say; commands go to heads. Without I/O, like everything here: the owner drives the
 * controllers, and calls `tick`.
 */
export class HostSubsystem {
  readonly nqn: string;
  readonly instance: number;
  readonly clock: Clock;
  readonly nodeCount: number;
  readonly iopolicy: Iopolicy;
  readonly events: HostSubsystemEvents;
  readonly fences: Fences;
  readonly heads = new Map<number, NamespaceHead>();
  /** Namespaces that controllers have and that are not used, by number: the sentence that says why. */
  readonly refused = new Map<number, string>();
  delayedRemovalSecs: number;
  /** Why a controller was lost or given up, the last time that happened. */
  lastError: NvbraidError | null = null;
  readonly #registry: NamespaceRegistry;
  readonly #members = new Map<HostController, Member>();
  #maxTransferBytes = TRANSFER_BYTES_MAX;
  /** Namespaces that were refused are to be looked at again. */
  #offered = false;
  readonly #numberStep: number;
  #nextNumber: number;

  constructor(
    options: HostSubsystemOptions,
    clock: Clock,
    events: HostSubsystemEvents = {},
    registry: NamespaceRegistry = new NamespaceRegistry(),
  ) {
    this.nqn = options.nqn;
    this.instance = options.instance ?? 0;
    this.clock = clock;
    this.events = events;
    this.nodeCount = options.nodeCount ?? 1;
    this.delayedRemovalSecs = options.delayedRemovalSecs ?? 0;
    this.#registry = registry;
    this.#nextNumber = options.controllerNumbers?.first ?? 1;
    this.#numberStep = options.controllerNumbers?.step ?? 1;
    this.iopolicy = new Iopolicy({
      ...(options.iopolicy === undefined ? {} : { initial: options.iopolicy }),
      log: (message) => this.log(message),
    });
    this.fences = new Fences(
      options.safeFailover ?? true,
      () => clock.nowMs(),
      () => this.#fenced(),
    );
  }

  get controllers(): HostController[] {
    return [...this.#members.keys()];
  }

  /** Bytes that a command can move on every path that there is. Every command asks. */
  get maxTransferBytes(): number {
    return this.#maxTransferBytes;
  }

  #leastTransferBytes(): number {
    let least = TRANSFER_BYTES_MAX;
    for (const controller of this.#members.keys()) least = Math.min(least, controller.maxTransferBytes);
    return least;
  }

  log(message: string): void {
    this.events.log?.(message);
  }

  wake(): void {
    this.events.wake?.();
  }

  // ---------------------------------------------------------------- controllers

  /**
   * A controller of this subsystem, not started yet.
   * @param inner told everything, after the subsystem has drawn its conclusions
   * @throws NvbraidError EINVAL for one that belongs to another subsystem, or whose losses could not be made safe
   */
  addController(options: HostControllerOptions, platform: HostPlatform, inner: HostControllerEvents): HostController {
    if (options.nqn !== this.nqn) {
      throw new NvbraidError('EINVAL', `a controller of ${options.nqn} cannot join ${this.nqn}`);
    }
    if (this.fences.enabled && options.keepAliveMs === 0) {
      throw new NvbraidError(
        'EINVAL',
        'safe failover needs Keep Alive, by which a controller notices that it was lost: set a keep-alive-tmo, or ' +
          'switch safe failover off',
      );
    }
    const member: Member = {
      controller: new HostController(options, platform, {
        stateChanged: (state, error) => this.#stateChanged(member, state, error),
        namespacesScanned: (changed) => this.#scanned(member, changed),
        anaRead: (log) => this.#anaRead(member, log),
        asyncEvent: (event) => this.#asyncEvent(member, event),
        identified: () => this.#identified(member),
        failfast: () => this.#failfast(),
        log: (message) => this.log(`controller ${member.index}: ${message}`),
      }),
      inner,
      nrActive: new ActiveCounter(),
      index: this.#nextNumber,
      paths: new Map(),
    };
    this.#nextNumber += this.#numberStep;
    this.#members.set(member.controller, member);
    return member.controller;
  }

  /** Its number in names of paths; -1 when it is not of this subsystem. */
  indexOf(controller: HostController): number {
    return this.#members.get(controller)?.index ?? -1;
  }

  /** Whether a controller may join those that are here (as Linux' nvme_validate_cntlid). */
  #identified(member: Member): NvbraidError | null {
    const { controller } = member;
    const { identify, cntlid } = controller;
    if (this.fences.enabled && identify!.kas === 0) {
      return this.#refusal(
        'the controller does not support Keep Alive, by which it would notice that it was lost: switch safe failover off',
      );
    }
    for (const other of this.#members.keys()) {
      if (other === controller || other.identify === null || other.state === 'dead') continue;
      if (other.state === 'live' && other.cntlid === cntlid) {
        return this.#refusal(`controller ${cntlid} is connected already: two paths must not have one controller`);
      }
      if ((identify!.cmic & Cmic.MultiController) === 0) {
        return this.#refusal('the subsystem does not support several controllers');
      }
      if (other.identify.sn !== identify!.sn || other.identify.mn !== identify!.mn) {
        return this.#refusal(
          `serial and model number are '${identify!.sn.trim()}', '${identify!.mn.trim()}', those of the other controllers ` +
            `'${other.identify.sn.trim()}', '${other.identify.mn.trim()}': this is another subsystem of the same name`,
        );
      }
    }
    return null;
  }

  #refusal(why: string): NvbraidError {
    return new NvbraidError('EINVAL', `${this.nqn}: ${why}`, { retryable: false });
  }

  #stateChanged(member: Member, state: HostControllerState, error: NvbraidError | null): void {
    const { controller } = member;
    if (error !== null) this.lastError = error;
    if (state === 'dead') this.fences.associationOver(controller);
    this.#maxTransferBytes = this.#leastTransferBytes();
    if (state === 'live') this.#live(member);
    else if (state === 'deleting-noio' || state === 'dead') this.#removePaths(member);
    else if (state === 'resetting' || state === 'deleting') {
      // Nothing new goes there; what is under way may end, and the head stays until then.
      for (const path of member.paths.values()) path.namespaceHead.clearCurrentPath(path);
      if (state === 'deleting') this.#kick();
    }
    for (const path of member.paths.values()) this.events.pathState?.(path.namespaceHead, path);
    if (state === 'dead') {
      this.#members.delete(controller);
      this.#maxTransferBytes = this.#leastTransferBytes();
      if (this.#members.size === 0) this.#registry.forget(this);
      this.#kick();
    }
    // One that was asked to reset another is gone, and what it was asked with it.
    if (state !== 'live') resetAllLost(this);
    member.inner.stateChanged(state, error);
  }

  #live(member: Member): void {
    member.nrActive.value = 0;
    const log = member.controller.anaLog;
    for (const path of member.paths.values()) {
      if (log !== null) this.#applyAna(path, log);
      else path.setAna(0, null);
      if (path.ready && !path.anaPending) path.namespaceHead.setLive(path);
    }
    this.#kick();
    resetAllLost(this);
  }

  #failfast(): void {
    this.log('commands do not wait any more for a controller that has not come back in fast-io-fail-tmo');
    this.#kick();
  }

  /** What waits in the heads looks again. */
  #kick(): void {
    for (const head of this.heads.values()) head.kickRequeue();
  }

  #asyncEvent(member: Member, event: AsyncEvent): void {
    resetEvent(this, member.controller, event);
    member.inner.asyncEvent(event);
  }

  #fenced(): void {
    for (const fence of this.fences.pending) {
      if (fence.told) continue;
      fence.told = true;
      this.events.fenced?.(fence.cntlid, fence.untilMs);
    }
    resetAllLost(this);
    this.wake();
  }

  // ---------------------------------------------------------------- namespaces

  #scanned(member: Member, changed: readonly number[]): void {
    for (const nsid of changed) {
      const info = member.controller.namespaces.get(nsid);
      const path = member.paths.get(nsid);
      if (info === undefined) {
        this.refused.delete(nsid);
        if (path !== undefined) this.#removePath(member, path);
      } else if (path === undefined) this.#addPath(member, info);
      else if (sameIds(path.info.descriptors, info.descriptors)) this.#changed(path, info);
      else {
        // The number has another disk behind it now.
        this.#removePath(member, path);
        this.#addPath(member, info);
      }
    }
    member.inner.namespacesScanned(changed);
  }

  #addPath(member: Member, info: NamespaceInfo): void {
    const head = this.#headFor(info);
    if (head === null) return;
    const name = `nvme${this.instance}c${member.index}n${info.nsid}`;
    const path = new NvmePath(name, member.controller, head, info, member.nrActive);
    member.paths.set(info.nsid, path);
    head.addPath(path);
    const log = member.controller.anaLog;
    if (log !== null) this.#applyAna(path, log);
    else path.setAna(0, null);
    this.#fit(head, path);
    this.#tellUse(path);
  }

  /** Namespaces that were refused may be used now: whoever had their identifiers is gone. */
  offerAgain(): void {
    this.#offered = true;
    this.wake();
  }

  #offer(): void {
    this.#offered = false;
    for (const member of this.#members.values()) {
      if (member.controller.isDeleting) continue;
      for (const info of member.controller.namespaces.values()) {
        if (!member.paths.has(info.nsid)) this.#addPath(member, info);
      }
    }
  }

  /** The head that a path to this namespace belongs to; null after a sentence that says why there is none. */
  #headFor(info: NamespaceInfo): NamespaceHead | null {
    const { nsid } = info;
    const refused = (why: string): null => {
      const sentence = `namespace ${nsid} of ${this.nqn} is not used: ${why}`;
      this.refused.set(nsid, sentence);
      this.log(sentence);
      return null;
    };
    const known = this.heads.get(nsid);
    if (known !== undefined && !known.gone) {
      if (known.paths.length > 0 && (info.identify.nmic & known.info.identify.nmic & Nmic.Shared) === 0) {
        return refused('it is reached by two controllers, but not declared as shared (NMIC)');
      }
      if (!sameIds(known.info.descriptors, info.descriptors)) {
        return refused('its identifiers differ from those that another controller tells for the same number');
      }
      return known;
    }
    const conflict = this.#registry.conflict(info, this);
    if (conflict !== null) {
      return refused(
        `${conflict.id} is that of namespace ${conflict.head.nsid} of ${conflict.head.subsystem.nqn}: identifiers must be ` +
          'unique, give one of them another',
      );
    }
    const head = new NamespaceHead(this, `nvme${this.instance}n${nsid}`, info);
    head.allocDisk({ name: head.name, parent: this, capacityBytes: info.blockCount * info.blockSize });
    if (this.delayedRemovalSecs > 0) head.removal.store(String(this.delayedRemovalSecs), this.clock.nowMs());
    this.heads.set(nsid, head);
    this.refused.delete(nsid);
    this.#registry.add(head);
    this.events.headAdded?.(head);
    return head;
  }

  /** A path says something new of its namespace: the head follows, other paths wait until they say the same. */
  #changed(path: NvmePath, info: NamespaceInfo): void {
    const head = path.namespaceHead;
    path.info = info;
    path.disk!.capacityBytes = info.blockCount * info.blockSize;
    if (info.blockSize !== head.info.blockSize) {
      // No command for the old blocks fits the new ones.
      path.ready = false;
      head.clearCurrentPath(path);
      this.log(`${path.name}: formatted with blocks of ${info.blockSize} bytes: connect again to use it`);
      return this.#tellUse(path);
    }
    if (!sameNamespace(head.info, info)) {
      head.info = info;
      head.disk!.capacityBytes = info.blockCount * info.blockSize;
      this.events.headChanged?.(head);
    }
    for (const other of head.paths) this.#fit(head, other);
    head.clearPaths();
    head.kickRequeue();
  }

  /** A path is used while its size is the head's. */
  #fit(head: NamespaceHead, path: NvmePath): void {
    const fits = path.disk!.capacityBytes === head.disk!.capacityBytes && path.info.blockSize === head.info.blockSize;
    if (!fits && path.ready) head.clearCurrentPath(path);
    path.ready = fits;
    if (fits && !path.anaPending && path.controller.state === 'live') head.setLive(path);
  }

  #removePaths(member: Member): void {
    for (const path of [...member.paths.values()]) this.#removePath(member, path);
  }

  #removePath(member: Member, path: NvmePath): void {
    const head = path.namespaceHead;
    member.paths.delete(path.nsid);
    path.ready = false;
    head.clearCurrentPath(path);
    const last = head.deletePath(path);
    this.events.pathState?.(head, path);
    if (!last) head.kickRequeue();
    else if (head.canRemoveHead()) this.headRemoved(head);
  }

  /** Called by the head when its delayed removal is due, too. */
  headRemoved(head: NamespaceHead): void {
    if (head.gone) return;
    head.gone = true;
    this.fences.cancelHead(head);
    if (this.heads.get(head.nsid) === head) this.heads.delete(head.nsid);
    this.#registry.delete(head);
    head.putDisk();
    void head.uninit();
    this.events.headRemoved?.(head);
  }

  // ---------------------------------------------------------------- ANA

  #anaRead(member: Member, log: AnaLog): void {
    for (const path of member.paths.values()) {
      this.#applyAna(path, log);
      this.#tellUse(path);
    }
    member.inner.anaRead(log);
  }

  /** Takes over what the log says of the path's group; a group that it does not name is not to be trusted. */
  #applyAna(path: NvmePath, log: AnaLog): void {
    const head = path.namespaceHead;
    const before = path.anaState;
    // Descriptors name their namespaces; the group identifier of Identify decides where a list is cut short.
    const group =
      log.groups.find(({ nsids }) => nsids.includes(path.nsid)) ??
      log.groups.find(({ grpid, nsids }) => grpid === path.info.identify.anagrpid && nsids.length === 0);
    if (group === undefined) {
      path.anaPending = true;
      head.clearCurrentPath(path);
      this.log(`${path.name}: the ANA log does not name the namespace: the path waits`);
      return;
    }
    path.setAna(group.grpid, group.state);
    if (before !== group.state && before !== null) this.events.anaChange?.(path, before);
    head.clearCurrentPath(path);
    if (path.ready && path.controller.state === 'live') head.setLive(path);
    else head.kickRequeue();
  }

  #tellUse(path: NvmePath): void {
    this.events.pathState?.(path.namespaceHead, path);
  }

  // ---------------------------------------------------------------- time

  get nextDeadlineMs(): number {
    if (this.#offered) return Number.NEGATIVE_INFINITY;
    let next = this.fences.nextDeadlineMs;
    for (const head of this.heads.values()) next = Math.min(next, head.nextDeadlineMs());
    return next;
  }

  tick(nowMs: number): void {
    if (this.#offered) this.#offer();
    this.fences.tick(nowMs);
    for (const head of [...this.heads.values()]) if (head.nextDeadlineMs() <= nowMs) head.tick(nowMs);
  }

  /** Ends all controllers; heads go with their last path. @param drainMs see `HostController.remove` */
  remove(drainMs = 0): void {
    this.delayedRemovalSecs = 0;
    for (const head of this.heads.values()) head.removal.store('0', this.clock.nowMs());
    for (const controller of this.controllers) controller.remove(drainMs);
  }

  /** True when nothing of it is left. */
  get empty(): boolean {
    return this.#members.size === 0 && this.heads.size === 0 && this.fences.nextDeadlineMs === NEVER;
  }
}
