import { assert, copyBytes, Memory, NEVER, type Outbox, Ring } from '@nvbraid/base';
import {
  CAPSULE_CMD_SQE,
  DNR,
  Fes,
  Framer,
  H2CData,
  ICReq,
  PduFlag,
  type PduSink,
  PduType,
  SglId,
  SQE_SIZE,
  Status,
  TermReq,
} from '@nvbraid/wire';
import { CommandIds } from './command-ids.ts';
import { Fuse, FusedPairs } from './fused.ts';
import { c2hTermReq, NO_HEADER, NO_SQ_FLOW_CONTROL, PduWriter } from './pdu-writer.ts';
import {
  type QueueEnvironment,
  type QueueHandoff,
  type QueueOptions,
  type QueueState,
  queueOptions,
} from './queue-interface.ts';
import {
  IN_CAPSULE_BYTES,
  MAX_PDA,
  MAX_QUEUE_SIZE,
  SLOTS_AT_ONCE,
  TRANSMIT_BYTES,
  UNBOUND_QUEUE_SLOTS,
} from './queue-limits.ts';
import { QueueMemory } from './queue-memory.ts';
import type { CommandQueue, CommandSet } from './request.ts';
import { Direction, oldestR2t, Slot, SlotState } from './slot.ts';

/**
 * One queue of a controller and its NVMe/TCP connection, without I/O: bytes go in by `receive`, commands go to the
 * `CommandSet`, PDUs come out of `transmit`. All state of a command is in its `Slot`.
 *
 * Every completed command waits in one ring until `transmit` takes it, so a reply's digest is computed and its payload
 * referenced just before the bytes are sent.
 */
export class QueuePair implements CommandQueue, PduSink {
  readonly environment: QueueEnvironment;
  qid = -1;
  state: QueueState = 'ic';
  /** Why the connection was given up, when it was: for logs and counters. */
  fatalFes = 0;
  fatalFei = 0;
  commandsCompleted = 0;
  readonly #options: Required<QueueOptions>;
  readonly #r2tBytes: number;
  readonly #framer: Framer;
  readonly #writer = new PduWriter();
  commands: CommandSet;
  #sqSize = UNBOUND_QUEUE_SLOTS;
  #sqhd = 0;
  #sqFlowControl = true;
  #maxR2t = 1;
  readonly slots: Slot[] = [];
  readonly #free: Slot[] = [];
  #outstanding = 0;
  readonly #cids = new CommandIds();
  readonly #outgoing = new Ring<Slot>(64);
  readonly #waiting = new Ring<Slot>(16);
  readonly memory: QueueMemory;
  readonly #fused = new FusedPairs();
  /** R2Ts that the host has not answered yet, of all commands. */
  #r2tsOpen = 0;
  #retrying = false;
  #current: Slot | null = null;
  #receiving = false;
  #icRespDue = false;
  #termReq: Uint8Array | null = null;
  /** True when the host broke the protocol. */
  fatal = false;

  /** @param commands what runs commands until `bind`; a function gets the queue and makes it */
  constructor(
    environment: QueueEnvironment,
    commands: CommandSet | ((queue: QueuePair) => CommandSet),
    options: QueueOptions = {},
  ) {
    this.environment = environment;
    this.memory = new QueueMemory(environment.pool);
    this.commands = typeof commands === 'function' ? commands(this) : commands;
    this.#options = queueOptions(options);
    this.#r2tBytes = this.#options.r2tBytes;
    this.#framer = new Framer('controller', this, {
      maxInCapsule: IN_CAPSULE_BYTES, // until `bind`: Connect brings its data in the capsule
      maxData: this.#options.maxH2CDataBytes,
    });
    this.#framer.dataAlign = (this.#options.cpda + 1) * 4;
  }

  /** Goes on with a queue that another thread has connected. */
  static resume(environment: QueueEnvironment, commands: CommandSet, from: QueueHandoff): QueuePair {
    const queue = new QueuePair(environment, commands, from);
    queue.state = 'open';
    queue.#agree(from.hdgst, from.ddgst, from.hpda);
    queue.#maxR2t = from.maxR2t;
    queue.bind(from.qid, from.sqSize, from.sqFlowControl, commands);
    queue.#sqhd = from.sqhd;
    return queue;
  }

  /** Gives up this side of the queue; only while nothing is under way and nothing is left to send. */
  handoff(): QueueHandoff {
    assert(this.canHandOff, 'queue is busy');
    this.state = 'closed';
    return {
      qid: this.qid,
      sqSize: this.#sqSize,
      sqFlowControl: this.#sqFlowControl,
      sqhd: this.#sqhd,
      hdgst: this.#framer.hdgst,
      ddgst: this.#framer.ddgst,
      hpda: this.#writer.hpda,
      maxR2t: this.#maxR2t,
      ...this.#options,
    };
  }

  get canHandOff(): boolean {
    return this.state === 'open' && this.#outstanding === 0 && this.#outgoing.length === 0 && this.#framer.idle;
  }

  /** True when everything is said and the connection should be closed in order. */
  get finished(): boolean {
    const output = this.#outgoing.length > 0 || this.#termReq !== null || this.#icRespDue;
    return (this.state === 'closing' && !output) || this.state === 'closed';
  }

  /** Commands that have arrived and are not answered yet. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Which PDU has begun to arrive and not ended, by number; -1 when there is none. */
  get pduUnderWay(): number {
    return this.#framer.alive && !this.#framer.idle ? this.#framer.begun : -1;
  }

  /** R2Ts are not answered yet. */
  get awaitsData(): boolean {
    return this.#r2tsOpen > 0;
  }

  /** Since when an R2T waits for its data, as far as calls have noticed, in ms; or NEVER. `restart` counts from now. */
  oldestR2t(nowMs: number, restart: boolean): number {
    return this.#r2tsOpen === 0 ? NEVER : oldestR2t(this.slots, nowMs, restart);
  }

  get sqSize(): number {
    return this.#sqSize;
  }

  get toBoundary(): number {
    return this.#framer.toBoundary;
  }

  get directLength(): number {
    return this.#framer.directLength;
  }

  get directMemory(): Memory {
    return this.#framer.placeMemory!;
  }

  get directOffset(): number {
    return this.#framer.directOffset;
  }

  directReceived(length: number): void {
    this.#receiving = true;
    this.#framer.directReceived(length);
    this.#receiving = false;
  }

  /** Takes all bytes from `start` to `end`. */
  receive(memory: Memory, start: number, end: number): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    this.#receiving = true;
    this.#framer.receive(memory, start, end);
    if (this.#current !== null) this.#current.keepSqe(); // a capsule of which more must arrive
    this.#receiving = false;
  }

  /** Fills the outbox with what is ready; true when there is more than went in. */
  transmit(out: Outbox, most = TRANSMIT_BYTES): boolean {
    if (this.#icRespDue) this.#emitIcResp(out);
    while (this.#outgoing.length > 0) {
      if (!out.room(4, 256) || out.bytes >= most) return true;
      const slot = this.#outgoing.shift()!;
      slot.queued = false;
      if (slot.state === SlotState.Done) this.#emitCompletion(slot, out);
      else if (slot.state === SlotState.Receiving) this.#emitR2ts(slot, out);
    }
    if (this.#termReq !== null) {
      if (!out.room(1, this.#termReq.length)) return true;
      const at = out.reserve(this.#termReq.length);
      out.arena.bytes.set(this.#termReq, at);
      this.#termReq = null;
    }
    return false;
  }

  /** Runs commands again that found no payload memory. */
  retryStarved(): void {
    if (this.state !== 'open' && this.state !== 'draining') return;
    const waiting = this.#waiting.length;
    this.#receiving = true;
    this.#retrying = true;
    // In order, and no further than the first that still finds no memory: a long command is not overtaken for ever.
    while (this.#waiting.length > 0 && (this.state === 'open' || this.state === 'draining')) {
      const slot = this.#waiting.shift()!;
      if (slot.state === SlotState.WaitsForSlab) this.#requestData(slot);
      else if (slot.state === SlotState.Starved) this.#execute(slot);
      if (this.#waiting.peek() === slot) break;
    }
    this.#retrying = false;
    this.#receiving = false;
    if (this.#waiting.length > 0) this.environment.starved(this);
    // Only progress is worth a turn: each turn ends with the next retry, so asking for one in vain would never end.
    if (this.#waiting.length < waiting) this.#wantTransmit();
  }

  bind(qid: number, sqSize: number, sqFlowControl: boolean, commands: CommandSet): void {
    assert(sqSize >= 2 && sqSize <= MAX_QUEUE_SIZE, 'queue size');
    this.qid = qid;
    this.#sqSize = sqSize;
    this.#sqFlowControl = sqFlowControl;
    this.commands = commands;
    if (qid > 0) this.#framer.limits.maxInCapsule = this.#options.inCapsuleBytes; // what IOCCSZ tells
  }

  close(fes?: number): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    if (fes !== undefined) this.#terminate(fes, 0, NO_HEADER, 0);
    else this.#stop('closing');
    this.environment.wantTransmit(this);
  }

  /** Takes no commands any more; when those that have arrived are answered, the connection is closed in order. */
  drain(): void {
    if (this.state === 'open') this.state = 'draining';
    if (this.#outstanding === 0 || this.state === 'ic') this.close();
  }

  /** The connection is gone. */
  closed(): void {
    if (this.state === 'closed') return;
    this.#stop('closed');
    this.#termReq = null;
    this.#icRespDue = false;
    while (this.#outgoing.length > 0) this.#outgoing.shift();
    for (const slot of this.slots) if (slot.state === SlotState.Done) this.#release(slot);
  }

  // ---------------------------------------------------------------- the sink of the framer

  pduHeader(type: number, view: DataView, base: number): void {
    switch (type) {
      case PduType.CapsuleCmd:
        this.#capsule(view, base);
        break;
      case PduType.H2CData:
        this.#h2cData(view, base);
        break;
      case PduType.ICReq:
        this.#icReq(view, base);
        break;
      default: // H2CTermReq: the host has given up; its words are for the log
        this.fatalFes = TermReq.fes.get(view, base);
        this.fatalFei = TermReq.fei.get(view, base);
        this.#current = null;
    }
  }

  pduPlace(length: number): void {
    const slot = this.#current;
    if (slot === null || slot.earlyStatus !== 0) return;
    slot.keepSqe();
    if (slot.slab === null) this.memory.takeAnyway(slot, length);
    this.#framer.placeMemory = slot.slab;
    this.#framer.placeOffset = slot.received;
  }

  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    const slot = this.#current;
    this.#current = null;
    if (type === PduType.H2CTermReq) {
      this.#framer.stop();
      this.#stop('closing');
    } else if (slot === null) {
      // ICReq: all was said in its header
    } else if (type === PduType.CapsuleCmd) {
      this.#capsuleComplete(slot, memory, offset, length, digestOk);
      if (slot.state !== SlotState.Done) slot.keepSqe();
    } else {
      this.#h2cDataComplete(slot, memory, offset, length, digestOk);
    }
  }

  pduFatal(fes: number, fei: number, header: Memory, length: number): void {
    this.#terminate(fes, fei, header, length);
  }

  // ---------------------------------------------------------------- PDUs from the host

  #icReq(view: DataView, base: number): void {
    const fail = (fes: number, fei: number): void => this.#framer.fail(fes, fei, view, base, ICReq.size);
    if (this.state !== 'ic' || this.#icRespDue) return fail(Fes.PduSequenceError, 0);
    if (ICReq.pfv.get(view, base) !== 0) return fail(Fes.UnsupportedParameter, ICReq.pfv.offset);
    const hpda = ICReq.hpda.get(view, base);
    if (hpda > MAX_PDA) return fail(Fes.InvalidPduHeaderField, ICReq.hpda.offset);
    this.#maxR2t = Math.min(ICReq.maxr2t.get(view, base) + 1, MAX_QUEUE_SIZE);
    const hdgst = this.#options.allowHdgst && ICReq.hdgst.get(view, base) === 1;
    const ddgst = this.#options.allowDdgst && ICReq.ddgst.get(view, base) === 1;
    this.#agree(hdgst, ddgst, hpda);
    this.#icRespDue = true;
    this.state = 'open';
  }

  #agree(hdgst: boolean, ddgst: boolean, hpda: number): void {
    this.#framer.hdgst = hdgst;
    this.#framer.ddgst = ddgst;
    this.#writer.hdgst = hdgst;
    this.#writer.ddgst = ddgst;
    this.#writer.hpda = hpda;
  }

  #capsule(view: DataView, base: number): void {
    if (this.state === 'draining') return; // no answer: the host sends it again on another connection
    if (this.state !== 'open') return this.#framer.fail(Fes.PduSequenceError, 0, view, base, 72);
    const slot = this.#takeSlot();
    // More commands than the queue has entries: the host does not keep to SQ flow control.
    if (slot === undefined) return this.#framer.fail(Fes.PduSequenceError, 0, view, base, 72);
    this.#outstanding++;
    slot.begin(view, base + CAPSULE_CMD_SQE);
    this.#current = slot;
    if (this.#cids.take(slot.cid)) slot.parseSgl(this.#framer.dataLength);
    else {
      // The answer cannot tell the two apart, so this one must not free the identifier.
      slot.ownsCid = false;
      slot.earlyStatus = Status.CommandIdConflict | DNR;
    }
    if (slot.fuse !== Fuse.None || this.#fused.open) {
      this.#fused.arrived(slot, this.commands.executeFused !== undefined);
    }
  }

  #capsuleComplete(slot: Slot, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    if (slot.earlyStatus !== 0) return this.#refuse(slot, slot.earlyStatus);
    // A command whose data was damaged on the way was not understood: it must not be run.
    if (!digestOk) return this.#refuse(slot, Status.TransientTransportError);
    if (slot.sglId !== SglId.inCapsule) this.memory.give(slot); // bytes that nobody asked for
    const status = slot.fuse === Fuse.None ? this.commands.admit(slot) : this.commands.admitFused!(slot, slot.fuse);
    if (status !== 0) return this.#refuse(slot, status);
    if (slot.dataLength > this.#options.maxDataBytes) return this.#refuse(slot, Status.InvalidField | DNR);
    if (slot.direction === Direction.HostToController && slot.dataLength > 0) {
      if (slot.sglId === SglId.inCapsule) {
        if (slot.sglOffset + slot.dataLength > length) return this.#refuse(slot, Status.DataSglLengthInvalid | DNR);
        slot.dataMemory = memory;
        slot.dataOffset = offset + slot.sglOffset;
      } else {
        return this.#requestData(slot);
      }
    }
    this.#execute(slot);
  }

  /** Ends a command that has not run. */
  #refuse(slot: Slot, status: number): void {
    if (slot.fuse === Fuse.None) slot.complete(status);
    else this.#park(slot, status);
  }

  #park(slot: Slot, status: number): void {
    const first = this.#fused.park(slot, status);
    if (first === null) return;
    first.state = SlotState.Running;
    first.partner!.state = SlotState.Running;
    this.commands.executeFused!(first, first.partner!);
  }

  #execute(slot: Slot): void {
    if (slot.fuse !== Fuse.None) return this.#park(slot, 0);
    slot.state = SlotState.Running;
    this.commands.execute(slot);
  }

  /** Finds memory for the data of a write, then asks the host for it. */
  #requestData(slot: Slot): void {
    // The first half holds memory until the second has arrived: that one must not wait for any.
    if (slot.fuse === Fuse.Second) this.memory.takeAnyway(slot, slot.dataLength);
    else if (!this.#takeSlab(slot)) return this.#starve(slot, SlotState.WaitsForSlab);
    slot.dataMemory = slot.slab!;
    slot.dataOffset = 0;
    slot.state = SlotState.Receiving;
    this.#enqueue(slot);
  }

  #h2cData(view: DataView, base: number): void {
    const fail = (fes: number, fei: number): void => this.#framer.fail(fes, fei, view, base, H2CData.size);
    if (this.state !== 'open' && this.state !== 'draining') return fail(Fes.PduSequenceError, 0);
    const ttag = H2CData.ttag.get(view, base);
    const slot = this.slots[ttag & (MAX_QUEUE_SIZE - 1)];
    if (slot === undefined || slot.state !== SlotState.Receiving || slot.requested === 0) {
      return fail(Fes.InvalidPduHeaderField, H2CData.ttag.offset);
    }
    if (slot.cid !== H2CData.cccid.get(view, base)) return fail(Fes.InvalidPduHeaderField, H2CData.cccid.offset);
    const datal = H2CData.datal.get(view, base);
    if (datal !== this.#framer.dataLength) return fail(Fes.InvalidPduHeaderField, H2CData.datal.offset);
    const datao = H2CData.datao.get(view, base);
    // Data of a command comes in order, and a PDU stays within the R2T that its tag names.
    const r2t = Math.floor(slot.received / this.#r2tBytes);
    const r2tEnd = Math.min((r2t + 1) * this.#r2tBytes, slot.requested);
    if (datao !== slot.received || datao + datal > r2tEnd) {
      return fail(Fes.DataTransferOutOfRange, H2CData.datao.offset);
    }
    if (ttag >>> 10 !== (r2t & 63)) return fail(Fes.InvalidPduHeaderField, H2CData.ttag.offset);
    this.#current = slot;
  }

  #h2cDataComplete(slot: Slot, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    if (memory !== slot.slab) copyBytes(memory, offset, slot.slab!, slot.received, length);
    if (!digestOk) slot.digestFailed = true;
    slot.received += length;
    if (slot.received % this.#r2tBytes === 0 || slot.received === slot.requested) {
      slot.r2tsOpen--;
      this.#r2tsOpen--;
      slot.r2tSinceMs = NEVER;
    }
    if (slot.received === slot.dataLength) {
      if (slot.digestFailed) this.#refuse(slot, Status.TransientTransportError);
      else this.#execute(slot);
    } else if (slot.requested < slot.dataLength) this.#enqueue(slot);
  }

  completed(slot: Slot): void {
    if (slot.status !== 0) slot.hasReply = false;
    slot.state = SlotState.Done;
    if (this.state !== 'open' && this.state !== 'draining') {
      this.#release(slot);
      return;
    }
    this.#enqueue(slot);
  }

  /** The slot has something to send, once, whatever it is by the time it is sent. */
  #enqueue(slot: Slot): void {
    if (!slot.queued) {
      slot.queued = true;
      this.#outgoing.push(slot);
    }
    this.#wantTransmit();
  }

  /** Called by the slot: payload memory for a reply; false after having put the slot among those who wait. */
  takeReplySlab(slot: Slot): boolean {
    if (this.#takeSlab(slot)) return true;
    this.#starve(slot, SlotState.Starved);
    return false;
  }

  /** Nobody overtakes those of the queue who wait already. */
  #takeSlab(slot: Slot): boolean {
    return (this.#waiting.length === 0 || this.#retrying) && this.memory.take(slot);
  }

  #starve(slot: Slot, state: SlotState): void {
    slot.state = state;
    if (this.#retrying) this.#waiting.unshift(slot);
    else this.#waiting.push(slot);
    this.environment.starved(this);
  }

  /**
   * True while the connection should not be read: writes that have arrived with their data wait for devices, and the
   * payload limit of the thread is exceeded. Not while R2Ts are open: their data would never come.
   */
  get congested(): boolean {
    return this.memory.overLimit && this.#r2tsOpen === 0;
  }

  #wantTransmit(): void {
    if (!this.#receiving) this.environment.wantTransmit(this);
  }

  /** Slots are made as a host uses them: most queues never see their full depth. */
  #takeSlot(): Slot | undefined {
    if (this.#free.length === 0 && this.slots.length < this.#sqSize) {
      const first = this.slots.length;
      const count = Math.min(SLOTS_AT_ONCE, this.#sqSize - first);
      const sqes = Memory.alloc(count * SQE_SIZE);
      for (let i = 0; i < count; i++) this.slots.push(new Slot(this, first + i, sqes, i * SQE_SIZE));
      for (let i = count - 1; i >= 0; i--) this.#free.push(this.slots[first + i]!);
    }
    return this.#free.pop();
  }

  #release(slot: Slot): void {
    this.memory.give(slot);
    this.#freeSlot(slot);
  }

  #freeSlot(slot: Slot): void {
    if (slot.ownsCid) this.#cids.give(slot.cid);
    slot.state = SlotState.Free;
    this.#r2tsOpen -= slot.r2tsOpen;
    slot.r2tsOpen = 0;
    this.#outstanding--;
    this.#free.push(slot);
    if (this.#outstanding === 0 && this.state === 'closed') this.environment.idle?.(this);
    else if (this.#outstanding === 0 && this.state === 'draining') this.close();
  }

  /** From now on nothing is received and no command is run. */
  #stop(state: 'closing' | 'closed'): void {
    const first = this.state !== 'closing' && this.state !== 'closed';
    this.state = state;
    this.#framer.stop();
    this.#current = null;
    this.#waiting.clear();
    this.#fused.clear();
    if (!first) return;
    for (const slot of this.slots) {
      // A device may still read from or write to the payload of a running command: `completed` releases it.
      if (slot.waits) this.#release(slot);
    }
    this.commands.closed();
  }

  /** Says goodbye with a C2HTermReq (NVMe-TCP 3.6.2.4), then closes. */
  #terminate(fes: number, fei: number, header: Memory, length: number): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    this.fatalFes = fes;
    this.fatalFei = fei;
    this.fatal = true;
    const pdu = c2hTermReq(fes, fei, header, length);
    this.#stop('closing');
    // Answers to commands that were done stand before the goodbye; a host that broke the protocol gets none of them.
    while (this.#outgoing.length > 0) {
      const slot = this.#outgoing.shift()!;
      slot.queued = false;
      if (slot.state === SlotState.Done) this.#release(slot);
    }
    this.#termReq = pdu;
  }

  // ---------------------------------------------------------------- PDUs to the host

  #emitIcResp(out: Outbox): void {
    this.#icRespDue = false;
    this.#writer.icResp(out, this.#options.cpda, this.#options.maxH2CDataBytes);
  }

  #emitR2ts(slot: Slot, out: Outbox): void {
    while (slot.requested < slot.dataLength && slot.r2tsOpen < this.#maxR2t) {
      if (!out.room(1, PduWriter.R2T_BYTES)) {
        slot.queued = true;
        this.#outgoing.unshift(slot);
        return;
      }
      const offset = slot.requested;
      const length = Math.min(this.#r2tBytes, slot.dataLength - offset);
      const ttag = slot.index | ((Math.floor(offset / this.#r2tBytes) & 63) << 10);
      this.#writer.r2t(out, slot.cid, ttag, offset, length);
      slot.requested = offset + length;
      slot.r2tsOpen++;
      this.#r2tsOpen++;
    }
  }

  #emitCompletion(slot: Slot, out: Outbox): void {
    const { status, dw0, dw1 } = slot;
    if (this.#sqFlowControl) this.#sqhd = this.#sqhd + 1 === this.#sqSize ? 0 : this.#sqhd + 1;
    let answered = false;
    if (slot.hasReply && slot.dataLength > 0) {
      // Without SQ flow control the response carries no news and can be left out (NVMe-TCP 3.3.2.2).
      answered = !this.#sqFlowControl && dw0 === 0 && dw1 === 0;
      const flags = answered ? PduFlag.LAST_PDU | PduFlag.SUCCESS : PduFlag.LAST_PDU;
      this.#writer.c2hData(out, flags, slot.cid, slot.dataMemory, slot.dataOffset, slot.dataLength);
    }
    if (!answered) {
      const sqhd = this.#sqFlowControl || !slot.isConnect ? this.#sqhd : NO_SQ_FLOW_CONTROL;
      this.#writer.capsuleResp(out, dw0, dw1, sqhd, slot.cid, status);
    }
    this.commandsCompleted++;
    this.memory.giveAfterSend(slot, out);
    this.#freeSlot(slot);
  }
}
