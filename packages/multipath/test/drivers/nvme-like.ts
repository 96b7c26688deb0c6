/*
 * A driver in the manner of NVMe: controllers with states, namespaces in ANA groups, one counter of requests per
 * controller, statuses of 16 bits. The bus is a list that the test runs by hand.
 */
import type { Clock } from '@nvbraid/base';
import {
  AccessState,
  ActiveCounter,
  type AttributeGroup,
  Bio,
  BioStatus,
  Disposition,
  Head,
  type HeadTemplate,
  Iopolicy,
  Outcome,
  Path,
} from '../../src/index.ts';

export type ControllerState = 'new' | 'live' | 'resetting' | 'connecting' | 'deleting' | 'dead';
export type AnaState = 'optimized' | 'non-optimized' | 'inaccessible' | 'persistent-loss' | 'change';

export const DNR = 0x4000;
const ANA_ERRORS: Partial<Record<AnaState, number>> = { 'persistent-loss': 0x301, inaccessible: 0x302, change: 0x303 };
const HOST_ABORTED = 0x371;
const BLOCK = 512;

export class NvmeBio extends Bio {
  write = false;
  data: Uint8Array = new Uint8Array(0);
}

/** The disk of all controllers: namespaces in memory, the ANA state of each group per controller. */
export class NvmeSubsystem {
  readonly iopolicy: Iopolicy;
  readonly media = new Map<number, Uint8Array>();
  readonly heads = new Map<number, NvmeHead>();
  /** Answered instead of doing what a command asks for, once each. */
  readonly faults: number[] = [];
  readonly clock: Clock;
  readonly logs: string[] = [];

  constructor(clock: Clock) {
    this.clock = clock;
    this.iopolicy = new Iopolicy({ log: (line) => this.logs.push(line) });
  }

  addNamespace(nsid: number, blocks: number): NvmeHead {
    this.media.set(nsid, new Uint8Array(blocks * BLOCK));
    const head = new NvmeHead(this, nsid);
    head.allocDisk({ name: `nvme0n${nsid}`, parent: this, capacityBytes: blocks * BLOCK });
    this.heads.set(nsid, head);
    return head;
  }
}

export class NvmeHead extends Head<NvmePath, NvmeBio> {
  readonly subsystem: NvmeSubsystem;
  readonly nsid: number;

  constructor(subsystem: NvmeSubsystem, nsid: number) {
    const { clock, iopolicy } = subsystem;
    const log = (line: string): void => void subsystem.logs.push(line);
    super({ name: `head${nsid}`, template: TEMPLATE, iopolicy, clock, nodeCount: 2, log });
    this.subsystem = subsystem;
    this.nsid = nsid;
  }
}

export class NvmePath extends Path {
  readonly controller: NvmeController;
  readonly nsid: number;
  readonly grpid: number;
  anaState: AnaState = 'change';
  anaPending = true;
  ready = true;

  constructor(controller: NvmeController, nsid: number, grpid: number) {
    const name = `nvme0c${controller.cntlid}n${nsid}`;
    const capacityBytes = controller.subsystem.media.get(nsid)!.length;
    super({
      name,
      numaNode: controller.numaNode,
      nrActive: controller.nrActive,
      disk: { name, capacityBytes, added: true },
    });
    this.controller = controller;
    this.nsid = nsid;
    this.grpid = grpid;
  }
}

export class NvmeController {
  readonly subsystem: NvmeSubsystem;
  readonly cntlid: number;
  readonly numaNode: number;
  /** Shared by all namespaces: what limits them is the controller's queues. */
  readonly nrActive = new ActiveCounter();
  readonly paths: NvmePath[] = [];
  state: ControllerState = 'new';
  failfastExpired = false;
  /** The log page as the device has it now; paths know what they read last. */
  readonly anaLog = new Map<number, AnaState>();
  rereads = 0;
  #flying: { path: NvmePath; bio: NvmeBio }[] = [];

  constructor(subsystem: NvmeSubsystem, cntlid: number, numaNode = 0) {
    this.subsystem = subsystem;
    this.cntlid = cntlid;
    this.numaNode = numaNode;
  }

  get flying(): number {
    return this.#flying.length;
  }

  attach(nsid: number, grpid: number): NvmePath {
    const path = new NvmePath(this, nsid, grpid);
    this.paths.push(path);
    this.subsystem.heads.get(nsid)!.addPath(path);
    return path;
  }

  changeState(state: ControllerState): void {
    this.state = state;
    if (state === 'live') {
      this.failfastExpired = false;
      this.nrActive.value = 0;
      this.readAnaLog();
      for (const path of this.paths) path.head?.kickRequeue();
    } else if (state === 'resetting') {
      this.abortAll();
    }
  }

  readAnaLog(): void {
    this.rereads++;
    for (const path of this.paths) {
      path.anaState = this.anaLog.get(path.grpid) ?? 'change';
      path.anaPending = false;
      path.accessState = STATES[path.anaState] ?? AccessState.Other;
      if (path.accessState !== AccessState.Other && this.state === 'live') this.headOf(path).setLive(path);
    }
  }

  /** Ends all paths, as when a controller is removed. */
  remove(): void {
    this.state = 'deleting';
    for (const path of this.paths.splice(0)) {
      const head = this.headOf(path);
      path.ready = false;
      head.clearCurrentPath(path);
      if (head.deletePath(path) && head.canRemoveHead()) forget(head);
    }
    this.abortAll();
    this.state = 'dead';
  }

  send(path: NvmePath, bio: NvmeBio): void {
    this.#flying.push({ path, bio });
  }

  /** The device answers the oldest `count` commands. */
  run(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count && this.#flying.length > 0; i++) {
      const { path, bio } = this.#flying.shift()!;
      this.#end(path, bio, this.#execute(path, bio));
    }
  }

  abortAll(): void {
    for (const { path, bio } of this.#flying.splice(0)) this.#end(path, bio, HOST_ABORTED);
  }

  headOf(path: NvmePath): NvmeHead {
    return this.subsystem.heads.get(path.nsid)!;
  }

  #execute(path: NvmePath, bio: NvmeBio): number {
    const fault = this.subsystem.faults.shift();
    if (fault !== undefined && fault !== 0) return fault;
    const refused = ANA_ERRORS[this.anaLog.get(path.grpid) ?? 'change'];
    if (refused !== undefined) return refused;
    const media = this.subsystem.media.get(path.nsid)!;
    if (bio.write) media.set(bio.data, bio.offset);
    else bio.data.set(media.subarray(bio.offset, bio.offset + bio.bytes));
    return 0;
  }

  #end(path: NvmePath, bio: NvmeBio, status: number): void {
    bio.driverStatus = status;
    let outcome: Outcome = Outcome.Retryable;
    if (status === 0) outcome = Outcome.Ok;
    else if ((status & DNR) !== 0) outcome = Outcome.Final;
    else if (((status >> 8) & 7) === 3) outcome = Outcome.PathError;
    const kind = ((status >> 8) & 7) === 3 ? BioStatus.Transport : BioStatus.IoError;
    if (this.headOf(path).endBio(bio, outcome, kind) === Disposition.Retry) this.send(path, bio);
  }
}

const STATES: Partial<Record<AnaState, AccessState>> = {
  optimized: AccessState.Optimized,
  'non-optimized': AccessState.NonOptimized,
};

function forget(head: NvmeHead): void {
  head.putDisk();
  head.subsystem.heads.delete(head.nsid);
}

const TEMPLATE: HeadTemplate<NvmePath, NvmeBio> = {
  isDisabled: ({ controller, anaPending, ready }) =>
    (controller.state !== 'live' && controller.state !== 'deleting') || anaPending || !ready,
  isOptimized: ({ controller, anaState }) => controller.state === 'live' && anaState === 'optimized',
  availablePath: ({ controller }) =>
    !controller.failfastExpired && ['live', 'resetting', 'connecting'].includes(controller.state),
  submitBio: (path, bio) => path.controller.send(path, bio),
  removeHead: (head) => forget(head as NvmeHead),
  failover: (path, bio) => {
    if (bio.driverStatus >= 0x301 && bio.driverStatus <= 0x303) path.anaPending = true;
  },
  addCdev: () => {},
  delCdev: () => {},
  cdevIoctl: (path, command) => `${path.name} ${command}`,
  pathAttributes: (path): AttributeGroup => ({
    name: 'ana',
    attributes: [
      { name: 'ana_grpid', show: () => String(path.grpid) },
      { name: 'ana_state', show: () => path.anaState },
    ],
  }),
};
