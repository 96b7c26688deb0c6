import { AccessState, BioFlag, Head, type HeadTemplate } from '@nvbraid/multipath';
import { Status } from '@nvbraid/wire';
import type { NamespaceInfo } from '../namespace-info.ts';
import type { HostSubsystem } from './host-subsystem.ts';
import { isPathError, mayStillRun, type NvmeBio } from './nvme-bio.ts';
import type { NvmePath } from './nvme-path.ts';

/** A namespace of a subsystem with all its paths: what users read and write. */
export class NamespaceHead extends Head<NvmePath, NvmeBio> {
  readonly subsystem: HostSubsystem;
  readonly nsid: number;
  /** As the path said that was looked at last. */
  info: NamespaceInfo;
  /** It has been removed: every call fails. */
  gone = false;

  constructor(subsystem: HostSubsystem, name: string, info: NamespaceInfo) {
    super({
      name,
      template: TEMPLATE,
      iopolicy: subsystem.iopolicy,
      clock: subsystem.clock,
      nodeCount: subsystem.nodeCount,
      log: (message) => subsystem.log(`${name}: ${message}`),
      wake: () => subsystem.wake(),
    });
    this.subsystem = subsystem;
    this.nsid = info.nsid;
    this.info = info;
  }

  get blockSize(): number {
    return this.info.blockSize;
  }

  get blockCount(): number {
    return this.info.blockCount;
  }

  /** Bytes that one command can move on every path. */
  get maxTransferBytes(): number {
    return this.subsystem.maxTransferBytes;
  }

  /** Ends a command that no path has: it waits for one, or for the end of a lost association. Its NoRetry flag is set. */
  cancel(bio: NvmeBio): void {
    if (!this.cancelQueued(bio)) this.subsystem.fences.cancel(bio);
  }

  /** A command came back from a path with an error. */
  commandFailed(path: NvmePath, bio: NvmeBio): void {
    const { status } = bio.request;
    if (bio.failedMs < 0 && isPathError(status)) bio.failedMs = this.clock.nowMs();
    if (mayStillRun(bio.request)) {
      if (bio.once) bio.flags |= BioFlag.NoRetry;
      if (this.subsystem.fences.hold(path, bio)) return;
    }
    bio.endOn(this, path, status);
  }
}

const TEMPLATE: HeadTemplate<NvmePath, NvmeBio> = {
  isDisabled: ({ controller, anaPending, ready }) => controller.state !== 'live' || anaPending || !ready,
  isOptimized: ({ controller, accessState }) => controller.state === 'live' && accessState === AccessState.Optimized,
  availablePath: ({ controller }) =>
    !controller.failfastExpired &&
    (controller.state === 'live' || controller.state === 'resetting' || controller.state === 'connecting'),
  submitBio: (path, bio) => path.controller.submitIo(bio.request),
  removeHead: (head) => (head as NamespaceHead).subsystem.headRemoved(head as NamespaceHead),
  failover: (path, bio) => {
    const { driverStatus } = bio;
    if (isAnaError(driverStatus)) {
      path.anaPending = true;
      path.controller.requestAna();
    }
    path.namespaceHead.subsystem.events.failover?.(path.namespaceHead, path, driverStatus);
  },
};

function isAnaError(status: number): boolean {
  const code = status & 0x7ff;
  return code === Status.AnaPersistentLoss || code === Status.AnaInaccessible || code === Status.AnaTransition;
}
