import { assert, type Clock, copyBytes, Memory, NEVER, NvbraidError, type Outbox, Ring } from '@nvbraid/base';
import {
  C2HData,
  CAPSULE_RESP_CQE,
  CapsuleResp,
  CQE_STATUS_OFFSET,
  Cqe,
  DNR,
  FES_NAMES,
  Fes,
  Framer,
  ICReq,
  ICResp,
  PduFlag,
  type PduSink,
  PduType,
  R2T,
  Sqe,
  Status,
  TermReq,
} from '@nvbraid/wire';
import { finish, lose } from './finish-request.ts';
import { type HostRequest, RequestState, Transfer } from './host-request.ts';
import { digestsNotAgreed, wrongIcRespField } from './ic-resp.ts';
import {
  ADMIN_IN_CAPSULE_BYTES,
  H2C_DATA_BYTES,
  HANDSHAKE_TIMEOUT_MS,
  MAXH2CDATA_MIN,
  PDA_MAX,
  QUEUE_SIZE_MAX,
  R2T_DEFAULT,
  R2T_MAX,
} from './limits.ts';
import { hasRoom, makeTermReq, type PduForm, writeCapsule, writeH2CData, writeICReq } from './pdu-output.ts';
import type { HostQueueOptions, HostQueueOwner } from './queue-interface.ts';
import { HOST_QUEUE_STATES, type HostQueueEvent, type HostQueueState } from './queue-states.ts';
import { type Slot, SlotTable } from './slot-table.ts';

/**
 * One queue of a controller and its NVMe/TCP connection, as the host sees it, without I/O: commands go in by `submit`,
 * PDUs come out of `transmit`, bytes of the controller go in by `receive`.
 *
 * Every submitted request ends exactly once. Payload goes straight between the connection and the submitter's memory.
 */
export class HostQueue implements PduSink {
  readonly qid: number;
  readonly queueSize: number;
  readonly inCapsuleBytes: number;
  readonly timeoutMs: number;
  readonly maxR2t: number;
  readonly hpda: number;
  state: HostQueueState = HOST_QUEUE_STATES.initial;
  /** Why the queue is of no use any more. */
  error: NvbraidError | null = null;
  /**
   * How the connection is to be ended once the queue is `finished`: true means by a reset, with everything thrown away
   * that has not gone out. Who is told that its commands failed sends them again, and a write must not arrive after its
   * own repetition. False when nothing is under way, or behind a TermReq.
   */
  mustReset = false;
  /** Submission queue head as the controller said last; without meaning when SQ flow control is disabled. */
  sqHead = 0;
  commandsSent = 0;
  commandsCompleted = 0;
  dataDigestErrors = 0;
  readonly #owner: HostQueueOwner;
  readonly #clock: Clock;
  readonly #framer: Framer;
  readonly #form: PduForm = { hdgst: false, ddgst: false, align: 4 };
  readonly #wanted: { readonly hdrDigest: boolean; readonly dataDigest: boolean };
  readonly #slots: SlotTable;
  readonly #waiting = new Ring<HostRequest>(64);
  /** Commands with R2Ts to answer. */
  readonly #sending = new Ring<Slot>(16);
  #maxH2CData = MAXH2CDATA_MIN;
  #handshakeDeadlineMs = NEVER;
  #icReqDue = false;
  #termReq: Uint8Array | null = null;
  #receiving = false;
  #wantsTransmit = false;
  /** Where the payload of the PDU that is being received belongs; null: nowhere. */
  #dataSlot: Slot | null = null;
  #dataFlags = 0;
  #dataOffset = 0;

  constructor(options: HostQueueOptions, owner: HostQueueOwner, clock: Clock) {
    this.qid = options.qid;
    this.queueSize = options.queueSize;
    this.inCapsuleBytes = options.qid === 0 ? ADMIN_IN_CAPSULE_BYTES : (options.inCapsuleBytes ?? 0);
    this.timeoutMs = options.timeoutMs;
    this.maxR2t = options.maxR2t ?? R2T_DEFAULT;
    this.hpda = options.hpda ?? 0;
    assert(this.queueSize >= 2 && this.queueSize <= QUEUE_SIZE_MAX, 'queueSize');
    assert(this.maxR2t >= 1 && this.maxR2t <= R2T_MAX, 'maxR2t');
    assert(this.hpda >= 0 && this.hpda <= PDA_MAX, 'hpda');
    this.#wanted = { hdrDigest: options.hdrDigest ?? false, dataDigest: options.dataDigest ?? false };
    this.#owner = owner;
    this.#clock = clock;
    // One entry of a submission queue always stays free (Base 2.1, 3.3.1.5). A command that is completed has also been
    // taken off the queue, so this bound alone keeps the host from overrunning it, with SQ flow control and without.
    this.#slots = new SlotTable(this.queueSize - 1, this.maxR2t);
    this.#framer = new Framer('host', this, { maxInCapsule: 0, maxData: 0xffffffff });
    this.#framer.dataAlign = (this.hpda + 1) * 4;
  }

  /** Commands that the controller has and has not completed. */
  get outstanding(): number {
    return this.#slots.busyCount;
  }

  /** Commands that wait for room in the queue. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** `transmit` would write something. */
  get hasOutput(): boolean {
    return (
      this.#icReqDue ||
      this.#termReq !== null ||
      this.#sending.length > 0 ||
      (this.#waiting.length > 0 && this.#slots.freeCount > 0)
    );
  }

  /** Everything is said: the connection should be ended, in order or as `mustReset` says. */
  get finished(): boolean {
    return this.state === 'closed' || (this.state === 'closing' && this.#termReq === null);
  }

  /** The handshake's or the oldest command's time limit. */
  get nextDeadlineMs(): number {
    const oldest = this.#slots.oldest;
    const command = oldest === null ? NEVER : oldest.startMs + this.timeoutMs;
    return Math.min(command, this.#handshakeDeadlineMs);
  }

  // ---------------------------------------------------------------- connection

  /** The connection stands: sends ICReq. */
  start(): void {
    this.#move('start');
    this.#handshakeDeadlineMs = this.#clock.nowMs() + HANDSHAKE_TIMEOUT_MS;
    this.#icReqDue = true;
    this.#form.hdgst = this.#wanted.hdrDigest;
    this.#form.ddgst = this.#wanted.dataDigest;
    this.#want();
  }

  /** The connection is gone, or could not be made. */
  closed(error: NvbraidError | null): void {
    if (this.state === 'closed') return;
    if (this.state === 'closing') {
      this.#move('gone');
      this.#termReq = null;
      return;
    }
    this.#move('gone');
    this.#fail(error ?? new NvbraidError('ECONNRESET', `queue ${this.qid}: the controller closed the connection`));
  }

  /**
   * Gives the queue up: what is outstanding ends with a path error, then `finished` is true. The owner is not told.
   * @param inOrder the controller has been told, or will hear of it by the end of the connection
   */
  close(error: NvbraidError, inOrder = false): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    this.#move('terminate');
    this.error = error;
    // Event requests are always outstanding and change nothing; I/O commands that are must not go on behind our back.
    this.mustReset = !inOrder || (this.qid > 0 && this.outstanding > 0);
    this.#end();
  }

  /** Takes all bytes from `start` to `end`. */
  receive(memory: Memory, start: number, end: number): void {
    if (this.state !== 'ready' && this.state !== 'handshake') return;
    this.#receiving = true;
    if (this.#dataSlot !== null && isGone(this.#dataSlot.memory)) this.#dropData(this.#dataSlot);
    this.#framer.receive(memory, start, end);
    this.#receiving = false;
  }

  /** Payload bytes that may be received straight to `directMemory` at `directOffset`; 0: none, use `receive`. */
  get directLength(): number {
    const length = this.#framer.directLength;
    if (length === 0) return 0;
    return isGone(this.#framer.placeMemory!) ? 0 : length;
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

  /** Fills the outbox with what is ready; true when there is more than went in. */
  transmit(out: Outbox): boolean {
    this.#wantsTransmit = false;
    if (this.state === 'ready') {
      while (this.#sending.length > 0) {
        if (!this.#answerR2ts(out, this.#sending.peek()!)) return true;
        this.#sending.shift();
      }
      if (this.state !== 'ready') return false;
      if (this.#waiting.length > 0 && this.#slots.freeCount > 0) {
        const now = this.#clock.nowMs();
        do {
          if (!hasRoom(out)) return true;
          this.#send(out, this.#waiting.shift()!, now);
        } while (this.#waiting.length > 0 && this.#slots.freeCount > 0);
      }
      return false;
    }
    if (!out.room(1, ICReq.size + TermReq.size)) return this.#icReqDue || this.#termReq !== null;
    if (this.#icReqDue) {
      this.#icReqDue = false;
      writeICReq(out, this.hpda, this.#form, this.maxR2t);
    }
    if (this.#termReq !== null) {
      const pdu = this.#termReq;
      this.#termReq = null;
      out.arena.bytes.set(pdu, out.reserve(pdu.length));
    }
    return false;
  }

  /** Tells the owner what has run out of time. To be called at `nextDeadlineMs` or later. */
  tick(nowMs: number): void {
    if (nowMs >= this.#handshakeDeadlineMs) {
      this.#handshakeDeadlineMs = NEVER;
      this.#giveUp(new NvbraidError('ETIMEDOUT', `queue ${this.qid}: no ICResp in ${HANDSHAKE_TIMEOUT_MS} ms`));
      return;
    }
    for (let slot = this.#slots.oldest; slot !== null; slot = this.#slots.oldest) {
      if (nowMs < slot.startMs + this.timeoutMs) return;
      this.#slots.restart(slot, nowMs);
      slot.timeouts++;
      this.#owner.commandTimedOut(this, slot.cid, slot.request, slot.timeouts);
    }
  }

  // ---------------------------------------------------------------- commands

  /**
   * Takes a command over; it goes out with the next `transmit` that finds room in the queue. A queue that is not ready
   * ends it at once with a path error.
   */
  submit(request: HostRequest): void {
    assert(request.state === RequestState.Idle, 'request submitted twice');
    request.fateUnknown = false;
    if (this.state !== 'ready') {
      finish(request, Status.HostPathingError, 0, 0, 0);
      return;
    }
    request.state = RequestState.Waiting;
    request.queue = this;
    this.#waiting.push(request);
    this.#want();
  }

  /**
   * Ends a submitted request now with Command Aborted By Host. If it is on the wire its cid is answered, for an Abort
   * command, and the slot stays taken until the controller completes it: late data goes nowhere, and data that the
   * controller may still ask for is sent from a copy. Otherwise -1.
   */
  cancel(request: HostRequest): number {
    assert(request.state !== RequestState.Idle, 'request is not under way');
    let cid = -1;
    if (request.state === RequestState.Waiting) {
      this.#withdraw(request);
    } else {
      cid = request.cid;
      request.fateUnknown = true;
      const slot = this.#slots.find(cid)!;
      slot.request = null;
      const owesData = slot.moved < slot.length || slot.r2tCount > 0;
      // Memory that was transferred away has nothing to copy: if its data is still asked for, the queue is given up.
      if (slot.transfer === Transfer.ToController && !slot.inCapsule && owesData && !isGone(slot.memory)) {
        const copy = Memory.alloc(slot.length);
        copyBytes(slot.memory, slot.offset, copy, 0, slot.length);
        slot.memory = copy;
        slot.offset = 0;
      } else if (this.#dataSlot === slot) {
        this.#framer.placeMemory = null;
      }
    }
    finish(request, Status.CommandAbortedByHost, 0, 0, 0);
    return cid;
  }

  /** What has been submitted and has not ended, in no order. */
  requests(): HostRequest[] {
    const all: HostRequest[] = [];
    for (const { busy, request } of this.#slots.slots) if (busy && request !== null) all.push(request);
    for (let i = 0; i < this.#waiting.length; i++) all.push(this.#waiting.at(i)!);
    return all;
  }

  /** True while the controller has not completed the command. */
  isUnderWay(cid: number): boolean {
    return this.#slots.find(cid) !== undefined;
  }

  #withdraw(request: HostRequest): void {
    for (let n = this.#waiting.length; n > 0; n--) {
      const other = this.#waiting.shift()!;
      if (other !== request) this.#waiting.push(other);
    }
  }

  #send(out: Outbox, request: HostRequest, nowMs: number): void {
    if (request.length > 0 && isGone(request.memory)) {
      finish(request, Status.DataTransferError | DNR, 0, 0, 0);
      return;
    }
    const slot = this.#slots.take(!request.noTimeout, nowMs);
    const { memory, offset, length, transfer } = request;
    slot.request = request;
    slot.transfer = transfer;
    slot.memory = memory;
    slot.offset = offset;
    slot.length = length;
    slot.moved = 0;
    slot.last = false;
    slot.digestError = false;
    slot.lost = false;
    slot.r2tCount = 0;
    slot.inCapsule = transfer === Transfer.ToController && length <= this.#inCapsuleLimit(request);
    request.state = RequestState.Sent;
    request.cid = slot.cid;
    writeCapsule(out, this.#form, request.sqe, slot.cid, memory, offset, length, slot.inCapsule);
    this.commandsSent++;
  }

  #inCapsuleLimit(request: HostRequest): number {
    return Sqe.opc.get(request.sqe.view, 0) === 0x7f ? ADMIN_IN_CAPSULE_BYTES : this.inCapsuleBytes;
  }

  /** Sends data that R2Ts of one command ask for; false when the outbox is full. */
  #answerR2ts(out: Outbox, slot: Slot): boolean {
    const r2ts = slot.r2ts;
    if (isGone(slot.memory)) {
      // The controller waits for data that nobody has: it must not take anything else for it.
      this.#giveUp(new NvbraidError('EIO', `queue ${this.qid}: the data of a write was transferred away`));
      return true;
    }
    while (slot.r2tCount > 0) {
      const at = slot.r2tHead * 3;
      const end = r2ts[at + 2]!;
      let from = r2ts[at + 1]!;
      while (from < end) {
        if (!hasRoom(out)) {
          r2ts[at + 1] = from;
          return false;
        }
        const length = Math.min(end - from, this.#maxH2CData);
        const last = from + length === end;
        writeH2CData(out, this.#form, slot.cid, r2ts[at]!, slot.memory, slot.offset + from, from, length, last);
        from += length;
      }
      slot.shiftR2t();
    }
    return true;
  }

  // ---------------------------------------------------------------- the sink of the framer

  pduHeader(type: number, view: DataView, base: number): void {
    if (type === PduType.CapsuleResp) this.#capsuleResp(view, base);
    else if (type === PduType.C2HData) this.#c2hData(view, base);
    else if (type === PduType.R2T) this.#r2t(view, base);
    else if (type === PduType.ICResp) this.#icResp(view, base);
    else this.#termReqReceived(view, base);
  }

  pduPlace(): void {
    const slot = this.#dataSlot;
    if (slot === null || slot.request === null) return;
    if (isGone(slot.memory)) return this.#dropData(slot);
    this.#framer.placeMemory = slot.memory;
    this.#framer.placeOffset = slot.offset + this.#dataOffset;
  }

  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    const slot = this.#dataSlot;
    if (type !== PduType.C2HData || slot === null) return;
    this.#dataSlot = null;
    if (!digestOk) {
      slot.digestError = true;
      // Of data that lost its place on the way the digest was not made of all.
      if (slot.request !== null && !slot.lost) this.dataDigestErrors++;
    } else if (this.#framer.placeMemory === null && slot.request !== null && length > 0) {
      if (isGone(slot.memory)) this.#dropData(slot);
      else copyBytes(memory, offset, slot.memory, slot.offset + this.#dataOffset, length);
    }
    if ((this.#dataFlags & PduFlag.SUCCESS) !== 0) this.#complete(slot, Status.Success, 0, 0);
  }

  #dropData(slot: Slot): void {
    slot.lost = true;
    this.#framer.placeMemory = null;
  }

  pduFatal(fes: number, fei: number, header: Memory, length: number): void {
    const what = fes === Fes.DataTransferLimitExceeded ? 'R2T Limit Exceeded' : (FES_NAMES[fes] ?? `FES ${fes}`);
    this.#termReq = makeTermReq(fes, fei, header, length);
    this.#giveUp(
      new NvbraidError('EPROTO', `queue ${this.qid}: the controller broke the protocol: ${what}`, {
        context: { qid: this.qid, fes, fei },
      }),
    );
  }

  // ---------------------------------------------------------------- PDUs from the controller

  #icResp(view: DataView, base: number): void {
    const framer = this.#framer;
    if (this.state !== 'handshake' || this.#icReqDue) {
      return framer.fail(Fes.PduSequenceError, 0, view, base, ICResp.size);
    }
    const wrong = wrongIcRespField(view, base);
    if (wrong !== null) {
      const fes = wrong === ICResp.pfv ? Fes.UnsupportedParameter : Fes.InvalidPduHeaderField;
      return framer.fail(fes, wrong.offset, view, base, ICResp.size);
    }
    const refused = digestsNotAgreed(view, base, this.#form, this.qid);
    if (refused !== null) return this.#giveUp(refused);
    framer.hdgst = this.#form.hdgst;
    framer.ddgst = this.#form.ddgst;
    this.#form.align = (ICResp.cpda.get(view, base) + 1) * 4;
    this.#maxH2CData = Math.min(ICResp.maxh2cdata.get(view, base), H2C_DATA_BYTES);
    this.#handshakeDeadlineMs = NEVER;
    this.#move('icResp');
    this.#owner.queueReady(this);
  }

  #capsuleResp(view: DataView, base: number): void {
    const cqe = base + CAPSULE_RESP_CQE;
    const slot = this.#slots.find(Cqe.cid.get(view, cqe));
    if (slot === undefined) {
      // Also before ICResp: no command is under way then.
      return this.#unknownCommand(view, base, CAPSULE_RESP_CQE + Cqe.cid.offset);
    }
    this.sqHead = Cqe.sqhd.get(view, cqe);
    const status = view.getUint16(cqe + CQE_STATUS_OFFSET, true) >>> 1;
    this.#complete(slot, status, Cqe.dw0.get(view, cqe), Cqe.dw1.get(view, cqe));
  }

  #c2hData(view: DataView, base: number): void {
    const framer = this.#framer;
    const slot = this.#slots.find(C2HData.cccid.get(view, base));
    if (slot === undefined) return this.#unknownCommand(view, base, C2HData.cccid.offset);
    if (slot.transfer !== Transfer.FromController || slot.last) {
      return framer.fail(Fes.PduSequenceError, 0, view, base, C2HData.size);
    }
    // The framer has compared datal with plen, and seen to SUCCESS and the alignment.
    const datal = framer.dataLength;
    const flags = C2HData.flags.get(view, base);
    // The data of a command comes in order and without gaps (NVMe-TCP 3.3.2.1).
    const datao = C2HData.datao.get(view, base);
    if (datao !== slot.moved || datao + datal > slot.length) {
      return framer.fail(Fes.DataTransferOutOfRange, 0, view, base, C2HData.size);
    }
    slot.moved = datao + datal;
    slot.last = (flags & PduFlag.LAST_PDU) !== 0;
    this.#dataSlot = slot;
    this.#dataFlags = flags;
    this.#dataOffset = datao;
  }

  #r2t(view: DataView, base: number): void {
    const framer = this.#framer;
    const slot = this.#slots.find(R2T.cccid.get(view, base));
    if (slot === undefined) return this.#unknownCommand(view, base, R2T.cccid.offset);
    if (slot.transfer !== Transfer.ToController || slot.inCapsule) {
      return framer.fail(Fes.PduSequenceError, 0, view, base, R2T.size);
    }
    if (slot.r2tCount === this.maxR2t) {
      return framer.fail(Fes.DataTransferLimitExceeded, 0, view, base, R2T.size);
    }
    // R2Ts of a command ask for its data in order (NVMe-TCP 3.3.2.2).
    const from = R2T.r2to.get(view, base);
    const length = R2T.r2tl.get(view, base);
    if (length === 0 || from !== slot.moved || from + length > slot.length) {
      return framer.fail(Fes.DataTransferOutOfRange, 0, view, base, R2T.size);
    }
    slot.moved = from + length;
    if (slot.r2tCount === 0) this.#sending.push(slot);
    slot.pushR2t(R2T.ttag.get(view, base), from, from + length);
  }

  #termReqReceived(view: DataView, base: number): void {
    const fes = TermReq.fes.get(view, base);
    const fei = TermReq.fei.get(view, base);
    const what = FES_NAMES[fes] ?? `FES ${fes}`;
    this.#giveUp(
      new NvbraidError('EPROTO', `queue ${this.qid}: the controller ended the connection: ${what} (FEI ${fei})`, {
        context: { qid: this.qid, fes, fei },
      }),
    );
  }

  /** A command identifier that names no command under way: never sent, completed before, or completed twice. */
  #unknownCommand(view: DataView, base: number, fei: number): void {
    const fes = this.state === 'ready' ? Fes.InvalidPduHeaderField : Fes.PduSequenceError;
    this.#framer.fail(fes, fes === Fes.InvalidPduHeaderField ? fei : 0, view, base, CapsuleResp.size);
  }

  // ---------------------------------------------------------------- ends

  #complete(slot: Slot, status: number, dw0: number, dw1: number): void {
    const request = slot.request;
    const allMoved = slot.inCapsule || (slot.moved === slot.length && slot.r2tCount === 0);
    let result = status;
    // Damaged payload fails its command only (NVMe-TCP 3.3.1.1); a status of the controller's own says more.
    if (slot.digestError && status === Status.Success) result = Status.TransientTransportError;
    else if (status === Status.Success && (slot.lost || (request?.exact && !allMoved)))
      result = Status.DataTransferError;
    const moved = slot.moved;
    if (slot.r2tCount > 0) this.#forgetR2ts(slot);
    this.#slots.give(slot);
    this.commandsCompleted++;
    if (request !== null) finish(request, result, dw0, dw1, moved);
    if (this.#waiting.length > 0) this.#want();
  }

  /** The controller completed a command without waiting for data it had asked for. */
  #forgetR2ts(slot: Slot): void {
    slot.r2tCount = 0;
    for (let n = this.#sending.length; n > 0; n--) {
      const other = this.#sending.shift()!;
      if (other !== slot) this.#sending.push(other);
    }
  }

  #giveUp(error: NvbraidError): void {
    this.#move('terminate');
    this.#fail(error);
  }

  #fail(error: NvbraidError): void {
    this.error = error;
    this.mustReset = this.#termReq === null;
    this.#framer.stop();
    this.#owner.queueFailed(this, error);
    this.#end();
  }

  #end(): void {
    this.#framer.stop();
    this.#framer.placeMemory = null;
    this.#handshakeDeadlineMs = NEVER;
    this.#icReqDue = false;
    this.#dataSlot = null;
    this.#sending.clear();
    for (const slot of this.#slots.slots) {
      if (!slot.busy) continue;
      const { request, moved } = slot;
      this.#slots.give(slot);
      if (request !== null) lose(request, moved);
    }
    for (let request = this.#waiting.shift(); request !== undefined; request = this.#waiting.shift()) {
      finish(request, Status.HostPathingError, 0, 0, 0);
    }
    // Told whatever was told before: from now on the connection's time is limited.
    this.#wantsTransmit = true;
    this.#owner.wantTransmit(this);
  }

  #move(event: HostQueueEvent): void {
    this.state = HOST_QUEUE_STATES.next(this.state, event);
  }

  #want(): void {
    if (this.#receiving || this.#wantsTransmit) return;
    this.#wantsTransmit = true;
    this.#owner.wantTransmit(this);
  }
}

/** A buffer that was transferred to somebody else has no bytes any more. Commands without data do not ask. */
function isGone(memory: Memory): boolean {
  return memory.bytes.length === 0;
}
