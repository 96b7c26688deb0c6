import { Memory, NvbraidError } from '@nvbraid/base';
import {
  assignedLba,
  type IdentifyNamespaceZoned,
  IoOpcode,
  lbaFormatIndex,
  NO_ZONE_LIMIT,
  parseZoneReport,
  ZONE_DESCRIPTOR_SIZE,
  ZONE_REPORT_HEADER_SIZE,
  ZoneAppendSqe,
  type ZoneDescriptor,
  ZoneManagementReceiveSqe,
  ZoneManagementSendSqe,
  ZoneReportOption,
  ZoneSendAction,
  ZoneState,
} from '@nvbraid/wire';
import { checkBlock, type HostIo } from './host-io.ts';
import { ZONE_REPORT_ZONES } from './host-limits.ts';
import { memoryOf } from './host-memory.ts';
import type { HostNamespace, IoOptions, WriteOptions } from './host-namespace.ts';
import type { ZoneOperationKind } from './host-operation.ts';

/** States of zones, as options of a report and in what it answers. */
export type ZoneStateName = keyof typeof ZoneState;

export interface Zone {
  /** First block. */
  readonly zslba: number;
  /** Blocks that can be written. */
  readonly capacity: number;
  /** Next block to write; null in states that have no write pointer. */
  readonly writePointer: number | null;
  readonly state: ZoneStateName;
  /** Bits: wire's `ZoneAttribute`. */
  readonly attributes: number;
  /** As it came. */
  readonly descriptor: ZoneDescriptor;
}

export interface ZoneReportOptions extends IoOptions {
  /** Zones from the one on that this block is in. Default 0. */
  readonly slba?: number;
  /** Only zones in this state. */
  readonly state?: ZoneStateName;
  /** At most so many. Default: all. */
  readonly limit?: number;
}

const STATE_NAMES = new Map<number, ZoneStateName>(
  Object.entries(ZoneState).map(([name, value]) => [value, name as ZoneStateName]),
);

/**
 * The zones of a namespace of the Zoned Namespace command set. Blocks are read and written with the methods of its
 * `HostNamespace`. Errors are as there: the promises are rejected with `NvmeError` or `NvbraidError`.
 */
export class ZonedNamespace {
  readonly namespace: HostNamespace;
  /** CNS 05h with CSI 2. */
  readonly identify: IdentifyNamespaceZoned;
  /** Blocks from the start of one zone to that of the next. */
  readonly zoneBlocks: number;
  readonly zoneCount: number;
  /** Zones that may be open, and open or closed, at a time; infinity when there is no limit. */
  readonly maxOpen: number;
  readonly maxActive: number;
  /** Longest Zone Append, in bytes. */
  readonly maxAppendBytes: number;
  readonly #io: HostIo;

  /** Made by `HostController.zoned`. @param zasl of Identify Controller with CSI 2 */
  constructor(io: HostIo, namespace: HostNamespace, identify: IdentifyNamespaceZoned, zasl: number) {
    this.#io = io;
    this.namespace = namespace;
    this.identify = identify;
    this.zoneBlocks = identify.lbafe[lbaFormatIndex(namespace.identify.flbas)]!.zsze;
    if (!(Number.isSafeInteger(this.zoneBlocks) && this.zoneBlocks > 0)) {
      throw new NvbraidError('EPROTO', `the controller says that zones of namespace ${namespace.nsid} have no blocks`);
    }
    this.zoneCount = Math.floor(namespace.blockCount / this.zoneBlocks);
    this.maxOpen = identify.mor === NO_ZONE_LIMIT ? Number.POSITIVE_INFINITY : identify.mor + 1;
    this.maxActive = identify.mar === NO_ZONE_LIMIT ? Number.POSITIVE_INFINITY : identify.mar + 1;
    const mdts = io.maxBlocks(namespace.blockSize) * namespace.blockSize;
    this.maxAppendBytes = zasl === 0 ? mdts : Math.min(mdts, 4096 * 2 ** zasl);
  }

  /** Zones with their states and write pointers, ascending. */
  async report(options: ZoneReportOptions = {}): Promise<Zone[]> {
    const { state, limit = this.zoneCount, signal } = options;
    checkBlock('the first block', options.slba ?? 0);
    const zrasf = state === undefined ? ZoneReportOption.All : ZoneReportOption[state];
    const zones: Zone[] = [];
    let slba = options.slba ?? 0;
    while (zones.length < limit && slba < this.namespace.blockCount) {
      const count = Math.min(ZONE_REPORT_ZONES, limit - zones.length);
      const found = await this.#reportFrom(slba, count, zrasf, signal);
      for (const zone of found) zones.push(zone);
      if (found.length < count) break;
      const next = found.at(-1)!.zslba + this.zoneBlocks;
      if (next <= slba) throw new NvbraidError('EPROTO', 'the zones of a report are not in ascending order');
      slba = next;
    }
    return zones;
  }

  async #reportFrom(slba: number, count: number, zrasf: number, signal: AbortSignal | undefined): Promise<Zone[]> {
    const length = ZONE_REPORT_HEADER_SIZE + count * ZONE_DESCRIPTOR_SIZE;
    const memory = Memory.alloc(length);
    await this.#once(
      'Zone Report',
      slba,
      (command) => {
        command.reset(IoOpcode.ZoneManagementReceive, this.namespace.nsid).receives(memory, 0, length);
        const { view } = command.sqe;
        ZoneManagementReceiveSqe.slba.set(view, 0, slba);
        ZoneManagementReceiveSqe.numd.set(view, 0, length / 4 - 1);
        ZoneManagementReceiveSqe.zrasf.set(view, 0, zrasf);
        ZoneManagementReceiveSqe.partial.set(view, 0, 1);
      },
      signal,
    );
    const report = parseZoneReport(memory.bytes);
    if (!report.ok) throw new NvbraidError('EPROTO', `the controller's zone report makes no sense: ${report.reason}`);
    return report.value.zones.map((descriptor) => zoneOf(descriptor));
  }

  /**
   * Writes `buffer`, whose length is a multiple of the block size and at most `maxAppendBytes`, to where the write pointer
   * of a zone is. Never sent twice: after a lost connection only the write pointer tells whether it has been written.
   * @param zslba first block of the zone
   * @returns the block that it begins at
   */
  async append(zslba: number, buffer: Uint8Array, options: WriteOptions = {}): Promise<number> {
    const { blockSize, nsid } = this.namespace;
    const blocks = buffer.byteLength / blockSize;
    checkBlock('the first block of the zone', zslba);
    if (!(Number.isInteger(blocks) && blocks >= 1 && buffer.byteLength <= this.maxAppendBytes)) {
      throw new NvbraidError(
        'EINVAL',
        `an append has whole blocks of ${blockSize} bytes, ${this.maxAppendBytes} bytes at most: ${buffer.byteLength}`,
      );
    }
    const memory = memoryOf(buffer);
    const { dw0, dw1 } = await this.#once(
      'Zone Append',
      zslba,
      (command) => {
        command.reset(IoOpcode.ZoneAppend, nsid).sends(memory, buffer.byteOffset, buffer.byteLength);
        const { view } = command.sqe;
        ZoneAppendSqe.zslba.set(view, 0, zslba);
        ZoneAppendSqe.nlb.set(view, 0, blocks - 1);
        ZoneAppendSqe.fua.set(view, 0, options.fua === true ? 1 : 0);
      },
      options.signal,
      buffer.byteLength,
    );
    return assignedLba(dw0, dw1);
  }

  /** Opens a zone, or all closed ones. */
  open(zone: number | 'all', options?: IoOptions): Promise<void> {
    return this.#send('Zone Open', ZoneSendAction.Open, zone, options);
  }

  /** Closes a zone, or all open ones. */
  close(zone: number | 'all', options?: IoOptions): Promise<void> {
    return this.#send('Zone Close', ZoneSendAction.Close, zone, options);
  }

  /** Makes a zone full, or all that are open or closed. */
  finish(zone: number | 'all', options?: IoOptions): Promise<void> {
    return this.#send('Zone Finish', ZoneSendAction.Finish, zone, options);
  }

  /** Empties a zone, or all that are open, closed or full: what they hold is lost. */
  reset(zone: number | 'all', options?: IoOptions): Promise<void> {
    return this.#send('Zone Reset', ZoneSendAction.Reset, zone, options);
  }

  /** Takes a zone that is read only offline, or all of them. */
  offline(zone: number | 'all', options?: IoOptions): Promise<void> {
    return this.#send('Zone Offline', ZoneSendAction.Offline, zone, options);
  }

  async #send(kind: ZoneOperationKind, zsa: number, zone: number | 'all', options: IoOptions = {}): Promise<void> {
    if (zone !== 'all') checkBlock('the first block of the zone', zone);
    await this.#once(
      kind,
      zone === 'all' ? -1 : zone,
      (command) => {
        const { view } = command.reset(IoOpcode.ZoneManagementSend, this.namespace.nsid).sqe;
        ZoneManagementSendSqe.zsa.set(view, 0, zsa);
        if (zone === 'all') ZoneManagementSendSqe.all.set(view, 0, 1);
        else ZoneManagementSendSqe.slba.set(view, 0, zone);
      },
      options.signal,
    );
  }

  async #once(
    kind: ZoneOperationKind,
    slba: number,
    prepare: Parameters<HostIo['once']>[4],
    signal: AbortSignal | undefined,
    bytes = 0,
  ): Promise<{ dw0: number; dw1: number }> {
    const { gone } = this.namespace;
    if (gone !== null) throw gone;
    if (signal?.aborted) {
      throw new NvbraidError('EABORTED', `${kind}: aborted before it was sent`, { cause: signal.reason });
    }
    return this.#io.once(kind, this.namespace, slba, bytes, prepare, signal);
  }
}

function zoneOf(descriptor: ZoneDescriptor): Zone {
  const { zslba, zcap, wp, zs, za } = descriptor;
  const state = STATE_NAMES.get(zs)!;
  const pointed = state !== 'Full' && state !== 'ReadOnly' && state !== 'Offline';
  return {
    zslba,
    capacity: zcap,
    writePointer: pointed ? Number(wp) : null,
    state,
    attributes: za,
    descriptor,
  };
}
