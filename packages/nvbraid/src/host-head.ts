import type { NamespaceHead } from '@nvbraid/host';
import type { HeadSink } from './head-sink.ts';
import { HostIo } from './host-io.ts';
import { HostNamespace } from './host-namespace.ts';
import type { HostSubsystem } from './host-subsystem.ts';

/**
 * A namespace with all its paths. Calls go by the path that the subsystem's policy selects; the failure of a path never
 * reaches the caller while another one lives or may come back. Events, besides those of a namespace: `path-state`,
 * `ana-change`, `failover`.
 */
export class HostHead extends HostNamespace {
  readonly subsystem: HostSubsystem;
  readonly core: NamespaceHead;
  readonly io: HostIo;

  /** Made by its subsystem. */
  constructor(subsystem: HostSubsystem, core: NamespaceHead, sink: HeadSink) {
    const io = new HostIo(sink, 0);
    super(io, core.info);
    this.subsystem = subsystem;
    this.core = core;
    this.io = io;
  }

  /** As in /dev: nvme0n1. */
  get name(): string {
    return this.core.name;
  }

  /** Disconnects all paths of the subsystem. */
  disconnect(): Promise<void> {
    return this.subsystem.disconnect();
  }
}
