import { assert, NEVER, NvbraidError } from '@nvbraid/base';
import {
  type AnaLog,
  AnaState,
  AsyncEventBit,
  AsyncEventNotice,
  AsyncEventType,
  type CapProperty,
  CNTLID_DYNAMIC,
  ControllerType,
  Ctratt,
  Fid,
  type IdentifyController,
  Status,
} from '@nvbraid/wire';
import { Aborts } from './aborts.ts';
import { AdminChannel } from './admin-channel.ts';
import { setFeaturesRequest } from './admin-commands.ts';
import { readAnaLog, reportsAna } from './ana-scan.ts';
import { type AsyncEvent, AsyncEvents } from './async-events.ts';
import type { HostControllerEvents, HostControllerOptions, HostPlatform } from './controller-interface.ts';
import { HOST_CONTROLLER_STATES, type HostControllerEvent, type HostControllerState } from './controller-states.ts';
import {
  connectQueue,
  enable,
  identifyController,
  maxTransferBytes,
  negotiateQueues,
  readCapabilities,
  shutDown,
} from './controller-steps.ts';
import { finish } from './finish-request.ts';
import { HostQueue } from './host-queue.ts';
import { type HostRequest, RequestState, Transfer } from './host-request.ts';
import { KeepAlive } from './keep-alive.ts';
import {
  ADMIN_QUEUE_SIZE,
  AER_MAX,
  DRAIN_POLL_MS,
  IO_QUEUES_MAX,
  SHUTDOWN_ANSWER_MS,
  TRANSFER_BYTES_MAX,
} from './limits.ts';
import { type NamespaceInfo, sameNamespace } from './namespace-info.ts';
import { acknowledgeNamespaceChange, scanNamespaces } from './namespace-scan.ts';
import { NvmeError } from './nvme-error.ts';
import type { HostQueueOwner } from './queue-interface.ts';
import { type Steps, Task } from './task.ts';
import { type Timer, Timers } from './timers.ts';

/**
 * A controller as the host sees it, without I/O: brings it to life, keeps it alive, notices when it is gone and connects
 * again. Commands go in by `submitIo` and `submitAdmin`.
 */
export class HostController implements HostQueueOwner {
  readonly options: HostControllerOptions;
  state: HostControllerState = HOST_CONTROLLER_STATES.initial;
  /** Why it is not live. */
  error: NvbraidError | null = null;
  admin: HostQueue | null = null;
  ioQueues: HostQueue[] = [];
  cntlid = CNTLID_DYNAMIC;
  /** As in `nvmeVersion`. */
  vs = 0;
  identify: IdentifyController | null = null;
  /** The 4096 bytes of Identify Controller. */
  identifyRaw: Uint8Array = new Uint8Array(0);
  namespaces: ReadonlyMap<number, NamespaceInfo> = new Map();
  /** As the controller told last; null when it does not report ANA states. */
  anaLog: AnaLog | null = null;
  /** Bytes of one command at most, from MDTS. */
  maxTransferBytes = TRANSFER_BYTES_MAX;
  /** How often the controller was lost, and how often it came back. */
  resets = 0;
  reconnects = 0;
  /** It has not come back within `fastIoFailTmoMs`. */
  failfastExpired = false;
  readonly #platform: HostPlatform;
  readonly #events: HostControllerEvents;
  readonly #timers = new Timers();
  #channel: AdminChannel | null = null;
  #main: Task | null = null;
  #refresh: Task | null = null;
  #rescanWanted = false;
  #anaWanted = false;
  /** Commands were refused for an ANA state that the log has not told. */
  #anaDoubted = false;
  #opening: HostQueue | null = null;
  #opened: (() => void) | null = null;
  #keepAlive: KeepAlive | null = null;
  #aborts: Aborts | null = null;
  #cap: CapProperty | null = null;
  #wasLive = false;
  #liveMs = 0;
  #lostMs = 0;
  #failfastMs = NEVER;
  /** A group is in change: when the controller is reset unless that has ended. */
  #anaTransition: Timer | null = null;
  /** The first of the I/O queues that are for writes; 0 when all are for everything. */
  #firstWriteQueue = 0;

  constructor(options: HostControllerOptions, platform: HostPlatform, events: HostControllerEvents) {
    const queues = options.nrIoQueues + (options.nrWriteQueues ?? 0);
    assert(options.nrIoQueues >= 0 && queues <= IO_QUEUES_MAX, 'nrIoQueues');
    this.options = options;
    this.#platform = platform;
    this.#events = events;
  }

  get isDiscovery(): boolean {
    return this.identify?.cntrltype === ControllerType.Discovery;
  }

  /** Makes the first attempt to connect; a failure of it is final. */
  start(): void {
    this.#move('start', null);
    this.#connect();
  }

  /**
   * Ends what is outstanding, tells the controller, closes. `stateChanged('dead')` follows.
   * @param drainMs how long commands under way may take to end by themselves
   */
  remove(drainMs = 0): void {
    if (this.isDeleting || this.state === 'dead') return;
    const error = new NvbraidError('ESHUTDOWN', `${this.options.nqn}: disconnected`);
    const wasLive = this.state === 'live';
    this.#move('remove', error);
    this.#failfastMs = NEVER;
    this.#main?.cancel();
    this.#refresh?.cancel();
    if (wasLive && drainMs > 0) this.#drain(error, this.#platform.clock.nowMs() + drainMs);
    else this.#shutDown(error, wasLive);
  }

  get isDeleting(): boolean {
    return this.state === 'deleting' || this.state === 'deleting-noio';
  }

  /** Ends the association and connects again, as if it had been lost. */
  reset(why = 'reset by the host'): void {
    if (this.state === 'live') this.#lost(new NvbraidError('ECONNRESET', `${this.options.nqn}: ${why}`));
  }

  #drain(error: NvbraidError, untilMs: number): void {
    if (!this.#is('deleting')) return;
    const now = this.#platform.clock.nowMs();
    const busy = this.ioQueues.some((queue) => queue.outstanding + queue.waiting > 0);
    if (!busy || now >= untilMs) return this.#shutDown(error, true);
    this.#timers.set(Math.min(now + DRAIN_POLL_MS, untilMs), () => this.#drain(error, untilMs));
  }

  #shutDown(error: NvbraidError, wasLive: boolean): void {
    this.#move('drained', error);
    this.#keepAlive?.stop();
    this.#timers.clear();
    for (const queue of this.ioQueues) queue.close(error, true);
    if (!wasLive || this.#channel === null) return this.#removed(error, false);
    this.#watchShutdown(error, -1);
    this.#main = new Task(shutDown(this.#channel, this.#cap!, this.identify?.rtd3e ?? 0), (failed) =>
      this.#removed(error, failed === null),
    );
    this.#main.start();
  }

  /** A controller that is shut down is asked all the time how far it is: one that does not answer is left alone. */
  #watchShutdown(error: NvbraidError, seen: number): void {
    const answered = this.admin?.commandsCompleted ?? seen;
    if (answered === seen) return this.#removed(error, false);
    const atMs = this.#platform.clock.nowMs() + SHUTDOWN_ANSWER_MS;
    this.#timers.set(atMs, () => this.#watchShutdown(error, answered));
  }

  /** A command for the admin queue. Ends at once with a path error when there is none. */
  submitAdmin(request: HostRequest): void {
    if (this.state === 'live' && this.admin !== null) this.admin.submit(request);
    else refuse(request);
  }

  /**
   * A command for the I/O queue that has the least to do. Ends at once with a path error when the controller is not live.
   */
  submitIo(request: HostRequest): void {
    if (this.state === 'live' && this.ioQueues.length > 0) this.#leastBusy(request).submit(request);
    else refuse(request);
  }

  /**
   * Submits the two commands of a fused operation, one right behind the other on one queue. False when the queues are too
   * short to hold both at once: nothing has been submitted then.
   */
  submitFused(first: HostRequest, second: HostRequest): boolean {
    if (this.state !== 'live' || this.ioQueues.length === 0) {
      refuse(first);
      refuse(second);
      return true;
    }
    const queue = this.#leastBusy(second);
    if (queue.queueSize < 3) return false; // one entry always stays free
    queue.submit(first);
    queue.submit(second);
    return true;
  }

  /** Reads the ANA log again: what it said last is doubted. A controller that cannot tell then is reset. */
  requestAna(): void {
    this.#anaWanted = true;
    this.#anaDoubted = true;
    this.#startRefresh();
  }

  /** Commands under way and waiting on all I/O queues. */
  get outstandingIo(): number {
    let sum = 0;
    for (const queue of this.ioQueues) sum += queue.outstanding + queue.waiting;
    return sum;
  }

  /** Ends a submitted request, and asks the controller to abort it if it is on the wire. */
  abort(request: HostRequest): void {
    const queue = request.queue!;
    const cid = queue.cancel(request);
    if (cid >= 0 && this.state === 'live') this.#aborts?.abort(queue, cid);
  }

  /** As `abort`, for every I/O request that has been submitted and has not ended. */
  abortIo(which: (request: HostRequest) => boolean): void {
    for (const queue of this.ioQueues) {
      // Ending one may end others.
      for (const request of queue.requests()) {
        if (request.state !== RequestState.Idle && which(request)) this.abort(request);
      }
    }
  }

  get nextDeadlineMs(): number {
    let next = Math.min(this.#timers.nextDeadlineMs, this.#failfastMs);
    if (this.admin !== null) next = Math.min(next, this.admin.nextDeadlineMs);
    for (const queue of this.ioQueues) next = Math.min(next, queue.nextDeadlineMs);
    return next;
  }

  tick(nowMs: number): void {
    this.#timers.tick(nowMs);
    if (nowMs >= this.#failfastMs) this.#failfast();
    const { admin, ioQueues } = this;
    if (admin !== null && admin.nextDeadlineMs <= nowMs) admin.tick(nowMs);
    for (const queue of ioQueues) if (queue.nextDeadlineMs <= nowMs) queue.tick(nowMs);
  }

  // ---------------------------------------------------------------- what the queues tell

  queueReady(queue: HostQueue): void {
    if (queue !== this.#opening) return;
    const opened = this.#opened!;
    this.#opening = null;
    this.#opened = null;
    opened();
  }

  queueFailed(queue: HostQueue, error: NvbraidError): void {
    if (queue !== this.admin && !this.ioQueues.includes(queue)) return;
    this.#lost(error);
  }

  commandTimedOut(queue: HostQueue, cid: number, _request: HostRequest | null, times: number): void {
    if (queue.qid !== 0 && times === 1 && this.state === 'live') {
      this.#aborts?.abort(queue, cid);
      return;
    }
    this.#lost(
      new NvbraidError(
        'ETIMEDOUT',
        `queue ${queue.qid}: a command was not completed in ${queue.timeoutMs * times} ms`,
        {
          context: { qid: queue.qid, cid },
        },
      ),
    );
  }

  wantTransmit(queue: HostQueue): void {
    this.#platform.wantTransmit(queue);
  }

  // ---------------------------------------------------------------- coming to life

  #connect(): void {
    const { options } = this;
    const { clock } = this.#platform;
    this.admin = new HostQueue(
      { ...this.#queueOptions(), qid: 0, queueSize: ADMIN_QUEUE_SIZE, timeoutMs: options.adminTimeoutMs },
      this,
      clock,
    );
    this.ioQueues = [];
    this.#channel = new AdminChannel(this.admin, clock, this.#timers);
    this.#main = new Task(this.#comeToLife(this.#channel), (error) => {
      if (error !== null) this.#lost(error);
    });
    this.#main.start();
  }

  *#comeToLife(channel: AdminChannel): Steps {
    const { options } = this;
    yield* this.#open(channel.queue);
    this.cntlid = yield* connectQueue(channel, channel.queue, this.#connectParameters(channel.queue, CNTLID_DYNAMIC));
    const capabilities = yield* readCapabilities(channel);
    this.#cap = capabilities.cap;
    this.vs = capabilities.vs;
    yield* enable(channel, capabilities);
    const { identify, raw } = yield* identifyController(channel);
    this.identify = identify;
    this.identifyRaw = raw;
    const unwanted = this.#events.identified?.() ?? null;
    if (unwanted !== null) throw unwanted;
    this.maxTransferBytes = maxTransferBytes(identify.mdts, capabilities.cap.mpsmin);
    this.#aborts = new Aborts(channel.queue, identify.acl + 1);
    if (options.keepAliveMs > 0 && identify.kas > 0) this.#startKeepAlive(channel, identify);
    if (options.nrIoQueues > 0 && !this.isDiscovery) yield* this.#openIoQueues(channel, capabilities.cap, identify);
    yield* this.#askForEvents(channel, identify);
    this.anaLog = null;
    yield* this.#readAna(channel);
    // Commands that wait may only go to the disks that they were meant for: look first, whoever waits.
    yield* this.#scan(channel);
    this.#live();
  }

  /** Waits until the queue's handshake is done. */
  *#open(queue: HostQueue): Steps {
    yield (resume) => {
      this.#opening = queue;
      this.#opened = resume;
      this.#platform.connect(queue);
    };
  }

  *#openIoQueues(channel: AdminChannel, cap: CapProperty, identify: IdentifyController): Steps {
    const { options } = this;
    const { nrIoQueues, nrWriteQueues = 0 } = options;
    const count = yield* negotiateQueues(channel, nrIoQueues + nrWriteQueues);
    if (count === 0) channel.fail('the controller grants no I/O queue');
    // With fewer than asked for, writes get theirs only when reads have at least one.
    this.#firstWriteQueue = nrWriteQueues === 0 || count < 2 ? 0 : Math.max(1, count - nrWriteQueues);
    // Data in the capsule starts right behind the SQE; a controller that wants it elsewhere gets none there.
    const inCapsuleBytes = identify.icdoff === 0 ? Math.max(0, identify.ioccsz * 16 - 64) : 0;
    let queueSize = Math.min(options.queueSize, cap.mqes + 1);
    if (identify.maxcmd > 0) queueSize = Math.min(queueSize, identify.maxcmd);
    queueSize = Math.max(2, queueSize);
    for (let qid = 1; qid <= count; qid++) {
      const queue = new HostQueue(
        { ...this.#queueOptions(), qid, queueSize, timeoutMs: options.ioTimeoutMs, inCapsuleBytes },
        this,
        this.#platform.clock,
      );
      this.ioQueues.push(queue);
      yield* this.#open(queue);
      yield* connectQueue(channel, queue, this.#connectParameters(queue, this.cntlid));
    }
  }

  *#askForEvents(channel: AdminChannel, identify: IdentifyController): Steps {
    const wanted = (identify.oaes & (this.isDiscovery ? DISCOVERY_EVENTS : IO_EVENTS)) >>> 0;
    if (wanted !== 0) {
      const request = setFeaturesRequest(Fid.AsyncEventConfiguration, wanted);
      yield* channel.run(request, 'Set Features (Asynchronous Event Configuration)');
    }
    if (this.isDiscovery && wanted === 0) return;
    const count = Math.min(identify.aerl + 1, AER_MAX);
    new AsyncEvents(channel.queue, count, (event) => this.#asyncEvent(event));
  }

  #live(): void {
    if (this.#wasLive) this.reconnects++;
    this.#wasLive = true;
    this.#liveMs = this.#platform.clock.nowMs();
    this.#failfastMs = NEVER;
    this.failfastExpired = false;
    this.#move('established', null);
    this.#startRefresh();
  }

  /** False when nothing has been learned. */
  *#readAna(channel: AdminChannel): Steps<boolean> {
    if (!reportsAna(this.identify!) || this.ioQueues.length === 0) return false;
    const log = yield* readAnaLog(channel, this.identify!, this.maxTransferBytes, (why) => this.#events.log?.(why));
    if (log === null) return false;
    this.anaLog = log;
    this.#watchTransition(log);
    this.#events.anaRead(log);
    return true;
  }

  /** A group may be in change for ANATT at most; a controller that forgets to say that it is over is reset. */
  #watchTransition(log: AnaLog): void {
    this.#timers.cancel(this.#anaTransition);
    this.#anaTransition = null;
    const { anatt } = this.identify!;
    if (anatt === 0 || !log.groups.some(({ state }) => state === AnaState.Change)) return;
    const atMs = this.#platform.clock.nowMs() + 2 * anatt * 1000;
    this.#anaTransition = this.#timers.set(atMs, () =>
      this.#lost(new NvbraidError('ETIMEDOUT', `an ANA group has been in change for ${2 * anatt} s`)),
    );
  }

  *#scan(channel: AdminChannel): Steps {
    const before = this.namespaces;
    const after =
      this.ioQueues.length === 0 ? new Map<number, NamespaceInfo>() : yield* scanNamespaces(channel, this.vs, before);
    const changed: number[] = [];
    for (const [nsid, info] of after) {
      const old = before.get(nsid);
      if (old === undefined || !sameNamespace(old, info)) changed.push(nsid);
    }
    for (const nsid of before.keys()) if (!after.has(nsid)) changed.push(nsid);
    this.namespaces = after;
    this.#events.namespacesScanned(changed);
  }

  #startKeepAlive(channel: AdminChannel, identify: IdentifyController): void {
    const traffic = (identify.ctratt & Ctratt.Tbkas) === 0 ? null : () => this.#completed();
    this.#keepAlive = new KeepAlive(channel, this.options.keepAliveMs, traffic, (error) => this.#lost(error));
  }

  #completed(): number {
    let count = this.admin!.commandsCompleted;
    for (const queue of this.ioQueues) count += queue.commandsCompleted;
    return count;
  }

  #asyncEvent(event: AsyncEvent): void {
    if (event.type === AsyncEventType.Notice) {
      if (event.info === AsyncEventNotice.NamespaceAttributeChanged) this.#rescanWanted = true;
      else if (event.info === AsyncEventNotice.AnaChange) this.#anaWanted = true;
      this.#startRefresh();
    }
    this.#events.asyncEvent(event);
  }

  #startRefresh(): void {
    if ((!this.#rescanWanted && !this.#anaWanted) || this.state !== 'live') return;
    if (this.#refresh !== null && !this.#refresh.over) return;
    // What fails for another reason than a lost connection leaves the old state standing.
    this.#refresh = new Task(this.#refreshSteps(this.#channel!), () => {
      if (!this.#anaDoubted || this.#anaWanted) this.#startRefresh();
      else
        this.#lost(new NvbraidError('EPROTO', 'commands are refused for an ANA state that the controller cannot tell'));
    });
    this.#refresh.start();
  }

  *#refreshSteps(channel: AdminChannel): Steps {
    if (this.#anaWanted) {
      const doubted = this.#anaDoubted;
      this.#anaWanted = false;
      this.#anaDoubted = false;
      if (!(yield* this.#readAna(channel))) this.#anaDoubted ||= doubted;
      return;
    }
    this.#rescanWanted = false;
    yield* acknowledgeNamespaceChange(channel);
    yield* this.#scan(channel);
  }

  // ---------------------------------------------------------------- going

  /** The association is of no use any more. */
  #lost(error: NvbraidError): void {
    if (this.#is('live')) {
      const now = this.#platform.clock.nowMs();
      this.resets++;
      this.#lostMs = now;
      this.#move('failed', error);
      this.#tearDown(error);
      // Whoever was told of the failure may have removed the controller.
      if (!this.#is('resetting')) return;
      const { fastIoFailTmoMs } = this.options;
      if (fastIoFailTmoMs !== undefined) this.#failfastMs = now + fastIoFailTmoMs;
      this.#move('reconnect', error);
      // At once, but a controller that is lost again and again must not be hurried.
      const lived = now - this.#liveMs;
      this.#tryAgain(error, lived >= this.options.reconnectDelayMs ? 0 : this.options.reconnectDelayMs);
    } else if (this.#is('connecting')) {
      this.#tearDown(error);
      if (!this.#is('connecting')) return;
      const final = error instanceof NvmeError ? error.dnr : !error.retryable;
      if (!this.#wasLive || final) this.#move('giveUp', error);
      else this.#tryAgain(error, this.options.reconnectDelayMs);
    } else if (this.isDeleting) {
      this.#removed(this.error!, false);
    }
  }

  #failfast(): void {
    this.#failfastMs = NEVER;
    this.failfastExpired = true;
    this.#events.failfast?.();
  }

  #tryAgain(error: NvbraidError, delayMs: number): void {
    const atMs = this.#platform.clock.nowMs() + delayMs;
    if (!this.#is('connecting')) return;
    const { ctrlLossTmoMs } = this.options;
    if (ctrlLossTmoMs === 0 || atMs - this.#lostMs > ctrlLossTmoMs) this.#move('giveUp', error);
    else this.#timers.set(atMs, () => this.#connect());
  }

  #tearDown(error: NvbraidError, inOrder = false): void {
    this.#main?.cancel();
    this.#refresh?.cancel();
    this.#keepAlive?.stop();
    this.#main = null;
    this.#refresh = null;
    this.#rescanWanted = false;
    this.#anaWanted = false;
    this.#anaDoubted = false;
    this.#keepAlive = null;
    this.#aborts = null;
    this.#channel = null;
    this.#opening = null;
    this.#opened = null;
    this.#timers.clear();
    this.#anaTransition = null;
    const queues = this.admin === null ? this.ioQueues : [this.admin, ...this.ioQueues];
    this.admin = null;
    this.ioQueues = [];
    for (const queue of queues) queue.close(error, inOrder);
  }

  #removed(error: NvbraidError, inOrder: boolean): void {
    if (!this.isDeleting) return;
    this.#tearDown(error, inOrder);
    if (this.isDeleting) this.#move('removed', error);
  }

  // ---------------------------------------------------------------- helpers

  #leastBusy(request: HostRequest): HostQueue {
    const queues = this.ioQueues;
    const split = this.#firstWriteQueue;
    const writes = split > 0 && request.transfer !== Transfer.FromController;
    const first = writes ? split : 0;
    const end = split === 0 || writes ? queues.length : split;
    let best = queues[first]!;
    let least = end - first === 1 ? 0 : best.outstanding + best.waiting;
    for (let i = first + 1; i < end; i++) {
      const queue = queues[i]!;
      const load = queue.outstanding + queue.waiting;
      if (load < least) {
        best = queue;
        least = load;
      }
    }
    return best;
  }

  #queueOptions() {
    const { hdrDigest, dataDigest, maxR2t, hpda } = this.options;
    return {
      hdrDigest,
      dataDigest,
      ...(maxR2t === undefined ? {} : { maxR2t }),
      ...(hpda === undefined ? {} : { hpda }),
    };
  }

  #connectParameters(queue: HostQueue, cntlid: number) {
    const { nqn, hostnqn, hostid, keepAliveMs, disableSqflow } = this.options;
    const katoMs = queue.qid === 0 ? keepAliveMs : 0;
    return { subnqn: nqn, hostnqn, hostid, qid: queue.qid, queueSize: queue.queueSize, cntlid, katoMs, disableSqflow };
  }

  /** A question that events may have changed the answer of since it was asked last. */
  #is(state: HostControllerState): boolean {
    return this.state === state;
  }

  #move(event: HostControllerEvent, error: NvbraidError | null): void {
    this.state = HOST_CONTROLLER_STATES.next(this.state, event);
    this.error = error;
    this.#events.stateChanged(this.state, error);
  }
}

/** Events that this host understands (OAES and the feature have the same bits). */
const IO_EVENTS =
  AsyncEventBit.NamespaceAttribute |
  AsyncEventBit.FirmwareActivation |
  AsyncEventBit.AnaChange |
  AsyncEventBit.CrossControllerReset;
const DISCOVERY_EVENTS = AsyncEventBit.DiscoveryLog;

function refuse(request: HostRequest): void {
  assert(request.state === RequestState.Idle, 'request submitted twice');
  request.fateUnknown = false;
  finish(request, Status.HostPathingError, 0, 0, 0);
}
