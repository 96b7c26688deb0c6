import { EventEmitter } from 'node:events';
import { Memory, NvbraidError } from '@nvbraid/base';
import {
  type AsyncEvent,
  HostController as ControllerCore,
  type ControllerInstance,
  crossControllerResetRequest,
  type HostControllerEvents,
  type HostControllerOptions,
  type HostControllerState,
  HostRequest,
  identifyRequest,
  NvmeError,
  RequestState,
  sameDisk,
} from '@nvbraid/host';
import {
  AdminOpcode,
  type AnaLog,
  CCR_LSP_RMC,
  Cns,
  type CrossControllerResetEntry,
  Csi,
  GetLogPageSqe,
  type IdentifyController,
  IdentifyControllerZoned,
  IdentifyNamespaceZoned,
  Lid,
  parseCrossControllerResetLog,
  Sqe,
  statusName,
  statusParts,
} from '@nvbraid/wire';
import type { ControllerPlace } from './connect-options.ts';
import { HostIo } from './host-io.ts';
import type { LatencySummary } from './host-latency.ts';
import { LOG_PAGE_CHUNK_BYTES } from './host-limits.ts';
import { HostNamespace, type IoOptions } from './host-namespace.ts';
import type { HostRuntime } from './host-runtime.ts';
import { ControllerSink } from './io-sink.ts';
import type { QueueSubflows } from './subflow-watch.ts';
import { ZonedNamespace } from './zoned-namespace.ts';

/** All that a Cross-Controller Reset log can be. */
const CCR_LOG_BYTES = 4096;

/** A command for the admin queue, as nvme-cli's admin-passthru takes it. */
export interface AdminCommand extends IoOptions {
  readonly opc: number;
  readonly nsid?: number;
  readonly cdw2?: number;
  readonly cdw3?: number;
  readonly cdw10?: number;
  readonly cdw11?: number;
  readonly cdw12?: number;
  readonly cdw13?: number;
  readonly cdw14?: number;
  readonly cdw15?: number;
  /** Data for the controller. */
  readonly data?: Uint8Array;
  /** Bytes expected from the controller. */
  readonly dataLength?: number;
}

export interface AdminResult {
  /** Status word without phase bit; 0 is success. */
  readonly status: number;
  readonly statusName: string;
  readonly sct: number;
  readonly sc: number;
  readonly dnr: boolean;
  readonly dw0: number;
  readonly dw1: number;
  /** What the controller sent; empty for commands that send no data. */
  readonly data: Uint8Array;
}

export interface HostStats {
  readonly readCommands: number;
  readonly writeCommands: number;
  readonly otherCommands: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly errors: number;
  readonly retries: number;
  /** Calls that have not ended. */
  readonly inFlight: number;
  /** How often the controller was lost, and how often it came back. */
  readonly resets: number;
  readonly reconnects: number;
  /** Of the calls that ended well. */
  readonly latency: LatencySummary;
}

export interface HostControllerEventMap {
  /** @param error why it left `live`, or null */
  state: [state: HostControllerState, error: NvbraidError | null];
  aen: [event: AsyncEvent];
  /** Namespaces that came, went, changed, or were replaced by others: look at `namespaces` again. */
  namespaces: [nsids: readonly number[]];
  /** `anaLog` has been read again: after an event that told of a change, or because the controller came back. */
  'ana-change': [log: AnaLog];
  /** It is dead and all its connections are closed. `error` is null after `disconnect`. */
  closed: [error: NvbraidError | null];
}

/**
 * A controller that this process is connected to. Made by `connect`. Events are emitted outside the core: what a listener
 * throws is its own, and what it calls finds the core at rest.
 */
export class HostController extends EventEmitter<HostControllerEventMap> {
  /** By nsid; kept up to date. One that is removed or replaced is `gone`, and there is a new object for the new one. */
  readonly namespaces = new Map<number, HostNamespace>();
  readonly io: HostIo;
  readonly core: ControllerCore;
  /** Where it is; null until `connect` has said it. */
  place: ControllerPlace | null = null;
  /** How long `disconnect` waits unless it is told. */
  drainMs = 0;
  readonly #sink: ControllerSink;
  readonly #runtime: HostRuntime;
  readonly #closed = Promise.withResolvers<void>();
  #started: ((error: NvbraidError | null) => void) | null = null;
  #removing = false;

  /** @param make makes the core; default: one that belongs to nobody else */
  constructor(
    options: HostControllerOptions,
    runtime: HostRuntime,
    maxRetries: number,
    make: (events: HostControllerEvents) => ControllerCore = (events) => new ControllerCore(options, runtime, events),
  ) {
    super();
    this.#runtime = runtime;
    this.core = make({
      stateChanged: (state, error) => this.#stateChanged(state, error),
      namespacesScanned: (changed) => this.#scanned(changed),
      anaRead: (log) => this.#anaRead(log),
      asyncEvent: (event) => process.nextTick(() => this.emit('aen', event)),
    });
    this.#sink = new ControllerSink(this.core);
    this.io = new HostIo(this.#sink, maxRetries);
    runtime.drive(this.core);
  }

  get subsysnqn(): string {
    return this.core.options.nqn;
  }

  get hostnqn(): string {
    return this.core.options.hostnqn;
  }

  get hostid(): string {
    return this.core.options.hostid;
  }

  get cntlid(): number {
    return this.core.cntlid;
  }

  get state(): HostControllerState {
    return this.core.state;
  }

  /** Why it is not live. */
  get error(): NvbraidError | null {
    return this.core.error;
  }

  /** NVMe version as in VS: 1.3.0 is 00010300h. */
  get version(): number {
    return this.core.vs;
  }

  get identify(): IdentifyController {
    return this.core.identify!;
  }

  /** The 4096 bytes of Identify Controller. */
  get identifyBytes(): Uint8Array {
    return this.core.identifyRaw;
  }

  /** The Asymmetric Namespace Access log; null when the controller does not report ANA states. */
  get anaLog(): AnaLog | null {
    return this.core.anaLog;
  }

  /** I/O queues that the controller granted. */
  get nrIoQueues(): number {
    return this.core.ioQueues.length;
  }

  get queueSize(): number {
    return this.core.ioQueues[0]?.queueSize ?? 0;
  }

  /** Bytes of one command at most; longer calls are split. */
  get maxTransferBytes(): number {
    return this.core.maxTransferBytes;
  }

  /** @throws NvbraidError ENOENT */
  namespace(nsid: number): HostNamespace {
    const namespace = this.namespaces.get(nsid);
    if (namespace === undefined) throw new NvbraidError('ENOENT', `${this.subsysnqn} has no namespace ${nsid}`);
    return namespace;
  }

  stats(): HostStats {
    return {
      ...this.io.counters,
      inFlight: this.io.inFlight,
      resets: this.core.resets,
      reconnects: this.core.reconnects,
      latency: this.io.latency.summary(),
    };
  }

  /**
   * What the connections of its queues are made of, as the kernel says it now; empty by transports whose connections have
   * no subflows.
   * @param backup whether to find out which of them are backups, which takes longer
   */
  subflows(backup = true): QueueSubflows[] {
    return this.#runtime.subflows(backup);
  }

  /** Sends an admin command; the promise is rejected only when there is no answer. */
  async admin(command: AdminCommand): Promise<AdminResult> {
    const request = adminRequest(command);
    await this.#run(request, `admin command ${command.opc.toString(16).padStart(2, '0')}h`, command.signal);
    const { status, dw0, dw1, received } = request;
    const { sct, sc, dnr } = statusParts(status);
    const name = statusName(status, command.opc === AdminOpcode.Fabrics);
    return { status, statusName: name, sct, sc, dnr, dw0, dw1, data: request.memory.bytes.subarray(0, received) };
  }

  /**
   * Reads a log page.
   * @param length bytes, a multiple of 4
   * @throws NvmeError
   */
  async getLogPage(
    lid: number,
    length: number,
    fields: Partial<Pick<GetLogPageSqe, 'nsid' | 'lsp' | 'lsi' | 'lpo' | 'rae' | 'csi' | 'uidx'>> = {},
    options: IoOptions = {},
  ): Promise<Uint8Array> {
    if (!Number.isInteger(length) || length <= 0 || length % 4 !== 0) {
      throw new NvbraidError('EINVAL', `the length of a log page is a positive multiple of 4: ${length}`);
    }
    const page = Memory.alloc(length);
    const start = fields.lpo ?? 0;
    for (let at = 0; at < length; ) {
      const bytes = Math.min(LOG_PAGE_CHUNK_BYTES, length - at);
      const request = new HostRequest().receives(page, at, bytes);
      GetLogPageSqe.emit(request.sqe.view, 0, {
        ...fields,
        opc: AdminOpcode.GetLogPage,
        lid,
        numd: bytes / 4 - 1,
        lpo: start + at,
      });
      request.exact = true;
      const what = `Get Log Page ${lid.toString(16).padStart(2, '0')}h`;
      await this.#mustRun(request, what, options.signal);
      at += bytes;
    }
    return page.bytes;
  }

  /** The 4096 bytes of an Identify data structure. @throws NvmeError */
  async identifyRaw(cns: number, nsid = 0, options: IoOptions & { csi?: number } = {}): Promise<Uint8Array> {
    const request = identifyRequest(cns, nsid, { csi: options.csi ?? 0 });
    await this.#mustRun(request, `Identify ${cns.toString(16).padStart(2, '0')}h (nsid ${nsid})`, options.signal);
    return request.memory.bytes;
  }

  /** Which life of which controller this is: what another controller of the subsystem is told to end. */
  get instance(): ControllerInstance {
    const { ciu, cirn } = this.identify;
    return { cntlid: this.cntlid, ciu, cirn };
  }

  /**
   * Has this controller end another one of its subsystem that the host does not reach any more (Base 2.3, 5.4.3).
   * @returns true when none of its commands can change a block any more; false when that is still to come: event F4h
   * will tell, and `crossControllerResets` what became of it
   * @throws NvmeError
   */
  async crossControllerReset(instance: ControllerInstance, options: IoOptions = {}): Promise<boolean> {
    const request = crossControllerResetRequest(instance);
    await this.#mustRun(request, `Cross-Controller Reset of controller ${instance.cntlid}`, options.signal);
    return (request.dw0 & 1) === 1;
  }

  /**
   * The resets that this controller did not end at once.
   * @param forget those that are over are left out the next time
   * @throws NvmeError, NvbraidError EPROTO
   */
  async crossControllerResets(forget = false, options: IoOptions = {}): Promise<CrossControllerResetEntry[]> {
    const lsp = forget ? CCR_LSP_RMC : 0;
    const page = await this.getLogPage(Lid.CrossControllerReset, CCR_LOG_BYTES, { lsp }, options);
    const log = parseCrossControllerResetLog(page);
    if (log.ok) return log.value;
    throw new NvbraidError(
      'EPROTO',
      `the Cross-Controller Reset log of ${this.subsysnqn} cannot be read: ${log.reason}`,
    );
  }

  /**
   * The zones of a namespace.
   * @param of whose commands it sends; default: this controller's own
   * @throws NvbraidError ENOENT, ENOTSUP when it has none; NvmeError
   */
  async zoned(
    nsid: number,
    options: IoOptions = {},
    of: { readonly io: HostIo; namespace(nsid: number): HostNamespace } = this,
  ): Promise<ZonedNamespace> {
    const namespace = of.namespace(nsid);
    if (namespace.descriptors.csi !== Csi.Zoned) throw new NvbraidError('ENOTSUP', `namespace ${nsid} is not zoned`);
    const csi = { ...options, csi: Csi.Zoned };
    const page = await this.identifyRaw(Cns.CsNamespace, nsid, csi);
    const limits = await this.identifyRaw(Cns.CsController, 0, csi);
    const { zasl } = IdentifyControllerZoned.parse(new DataView(limits.buffer, limits.byteOffset));
    const identify = IdentifyNamespaceZoned.parse(new DataView(page.buffer, page.byteOffset));
    return new ZonedNamespace(of.io, namespace, identify, zasl);
  }

  /** Its deadlines have changed. */
  arm(): void {
    this.#runtime.arm();
  }

  /** Ends the association and connects again. */
  reset(): void {
    this.core.reset();
    this.#runtime.arm();
  }

  /**
   * Takes nothing new, tells the controller that the host goes, and closes. Can be called again.
   * @param drainMs how long commands under way may take to end by themselves; what has not ended then is aborted. Default
   * 0; 5 s for a controller of a `HostSubsystem`
   */
  async disconnect(drainMs = this.drainMs): Promise<void> {
    this.#removing = true;
    this.core.remove(drainMs);
    this.#runtime.arm();
    await this.#closed.promise;
  }

  /** Makes the first attempt; for `connect` only. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = (error) => (error === null ? resolve() : reject(error));
      this.core.start();
      this.#runtime.arm();
    });
  }

  async #mustRun(request: HostRequest, what: string, signal: AbortSignal | undefined): Promise<void> {
    await this.#run(request, what, signal);
    if (request.status !== 0) throw new NvmeError(what, request.status);
  }

  #run(request: HostRequest, what: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortedError(what, signal));
      const onAbort = (): void => {
        if (request.state !== RequestState.Idle) this.core.abort(request);
      };
      request.done = () => {
        signal?.removeEventListener('abort', onAbort);
        if (signal?.aborted) reject(abortedError(what, signal));
        else if ((request.status & 0x700) === 0x300) reject(this.#noAnswer(what, request.status));
        else resolve();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.core.submitAdmin(request);
    });
  }

  #noAnswer(what: string, status: number): NvbraidError {
    return new NvmeError(what, status, false, this.core.error ?? undefined);
  }

  #stateChanged(state: HostControllerState, error: NvbraidError | null): void {
    const told = this.#removing ? null : error;
    // The first attempt is told by the promise of `connect`.
    if (this.#started === null) process.nextTick(() => this.emit('state', state, told));
    if (state === 'live') {
      this.#startEnded(null);
      this.#sink.resume();
    } else if (state === 'dead') {
      this.#sink.stop();
      this.#startEnded(error);
      void this.#runtime.idle().then(() => this.#allClosed(error));
    }
  }

  #allClosed(error: NvbraidError | null): void {
    process.nextTick(() => {
      this.#closed.resolve();
      this.emit('closed', this.#removing ? null : error);
    });
  }

  #startEnded(error: NvbraidError | null): void {
    this.#started?.(error);
    this.#started = null;
  }

  #scanned(changed: readonly number[]): void {
    for (const nsid of changed) {
      const info = this.core.namespaces.get(nsid);
      const known = this.namespaces.get(nsid);
      if (info === undefined) this.namespaces.delete(nsid);
      else if (known !== undefined && sameDisk(known.info, info)) known.update(info);
      else this.namespaces.set(nsid, new HostNamespace(this.io, info));
      const old = known !== this.namespaces.get(nsid) ? known : undefined;
      old?.abandon(this.#goneError(nsid, info !== undefined));
    }
    if (this.#started === null && changed.length > 0) process.nextTick(() => this.emit('namespaces', changed));
  }

  #goneError(nsid: number, replaced: boolean): NvbraidError {
    const what = replaced ? 'has been replaced by another one' : 'is there no more';
    return new NvbraidError('ENOENT', `namespace ${nsid} of ${this.subsysnqn} ${what}`, { context: { nsid } });
  }

  #anaRead(log: AnaLog): void {
    if (this.#started === null) process.nextTick(() => this.emit('ana-change', log));
  }
}

function adminRequest(command: AdminCommand): HostRequest {
  const { data, dataLength = 0 } = command;
  const request = new HostRequest();
  Sqe.emit(request.sqe.view, 0, {
    opc: command.opc,
    nsid: command.nsid ?? 0,
    cdw2: command.cdw2 ?? 0,
    cdw3: command.cdw3 ?? 0,
    cdw10: command.cdw10 ?? 0,
    cdw11: command.cdw11 ?? 0,
    cdw12: command.cdw12 ?? 0,
    cdw13: command.cdw13 ?? 0,
    cdw14: command.cdw14 ?? 0,
    cdw15: command.cdw15 ?? 0,
  });
  // The bytes as they are now: the caller may change its buffer while the command is under way.
  if (data !== undefined) request.sends(Memory.over(Uint8Array.from(data)), 0, data.length);
  else request.receives(Memory.alloc(dataLength), 0, dataLength);
  return request;
}

function abortedError(what: string, signal: AbortSignal): NvbraidError {
  return new NvbraidError('EABORTED', `${what}: aborted`, { cause: signal.reason });
}
