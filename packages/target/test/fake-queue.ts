import assert from 'node:assert/strict';
import { FakeClock, Memory, Slab } from '@nvbraid/base';
import {
  AdminOpcode,
  CONNECT_DATA_SIZE,
  ConnectData,
  ConnectSqe,
  FabricsType,
  FeaturesSqe,
  GetLogPageSqe,
  IdentifySqe,
  type LayoutMethods,
  Property,
  PropertySqe,
  Sqe,
} from '@nvbraid/wire';
import type {
  CommandQueue,
  CommandSet,
  ControlLimits,
  Controller,
  Port,
  Request,
  Subsystem,
  TargetHooks,
} from '../src/index.ts';
import { Target } from '../src/index.ts';

/** A request that remembers how it ended, and fails the test when it ends twice. */
export class FakeRequest implements Request {
  readonly queue: FakeQueue;
  readonly index: number;
  readonly sqeView: DataView;
  readonly sqeBase: number;
  readonly cid: number;
  readonly opcode: number;
  readonly fabrics: boolean;
  readonly sglLength: number;
  dataLength: number;
  dataMemory: Memory;
  dataOffset = 0;
  /** null while the command is under way. */
  status: number | null = null;
  dw0 = 0;
  dw1 = 0;
  reply: Uint8Array | null = null;
  #slab: Slab | null = null;

  constructor(queue: FakeQueue, index: number, sqe: Uint8Array, data: Uint8Array | null) {
    // The SQE does not start at 0 of its view: nothing may count on that.
    const bytes = new Uint8Array(64 + 64);
    bytes.set(sqe, 64);
    this.queue = queue;
    this.index = index;
    this.sqeView = new DataView(bytes.buffer);
    this.sqeBase = 64;
    this.cid = Sqe.cid.get(this.sqeView, 64);
    const opcode = sqe[0]!;
    this.fabrics = opcode === 0x7f;
    this.opcode = this.fabrics ? sqe[4]! : opcode;
    this.sglLength = (this.opcode & 3) === 0 ? 0 : Sqe.sglLength.get(this.sqeView, 64);
    this.dataLength = this.sglLength;
    this.dataMemory = data === null ? Memory.alloc(0) : Memory.over(data);
  }

  get done(): boolean {
    return this.status !== null;
  }

  keepData(): void {}

  replyBuffer(): Slab | null {
    assert.equal(this.opcode & 3, 2, 'data for a command that returns none');
    assert.ok(this.dataLength > 0 && this.dataLength <= this.sglLength, 'the host has no room for the data');
    if (this.queue.starve > 0) {
      this.queue.starve--;
      this.queue.starved.push(this);
      return null;
    }
    if (this.#slab === null) {
      this.#slab = new Slab(Math.max(4096, this.dataLength), 12);
      this.#slab.bytes.fill(0xee);
    }
    return this.#slab;
  }

  replyFrom(memory: Memory, offset: number): void {
    this.reply = memory.bytes.slice(offset, offset + this.dataLength);
  }

  replyBytes(bytes: Uint8Array, offset = 0): void {
    assert.equal(this.opcode & 3, 2, 'data for a command that returns none');
    assert.ok(this.dataLength <= this.sglLength, 'more data than the host has room for');
    const reply = new Uint8Array(this.dataLength);
    reply.set(bytes.subarray(offset, offset + this.dataLength));
    this.reply = reply;
  }

  complete(status: number, dw0 = 0, dw1 = 0): void {
    assert.equal(this.status, null, 'completed twice');
    assert.ok(Number.isInteger(status) && status >= 0 && status <= 0x7fff, `status ${status}`);
    assert.ok(Number.isInteger(dw0) && Number.isInteger(dw1), 'dw0, dw1');
    if (this.#slab !== null && status === 0) this.reply = this.#slab.bytes.slice(0, this.dataLength);
    this.status = status;
    this.dw0 = dw0 >>> 0;
    this.dw1 = dw1 >>> 0;
    if (status !== 0) this.reply = null;
    this.queue.completions.push(this);
  }
}

/** A queue without a wire: commands go in as SQEs, completions are kept in order. */
export class FakeQueue implements CommandQueue {
  qid = -1;
  sqSize = 2;
  sqFlowControl = true;
  commands!: CommandSet;
  isClosed = false;
  closedFes: number | undefined;
  readonly completions: FakeRequest[] = [];
  /** So many requests for a reply buffer are refused. */
  starve = 0;
  readonly starved: FakeRequest[] = [];
  #cid = 0;

  bind(qid: number, sqSize: number, sqFlowControl: boolean, commands: CommandSet): void {
    assert.equal(this.qid, -1, 'bound twice');
    this.qid = qid;
    this.sqSize = sqSize;
    this.sqFlowControl = sqFlowControl;
    this.commands = commands;
  }

  close(fes?: number): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.closedFes = fes;
    this.commands.closed();
  }

  /** The host closes the connection. */
  disconnect(): void {
    this.close();
  }

  /** Runs a command; its `cid` is filled in when it is 0. */
  submit(sqe: Uint8Array, data: Uint8Array | null = null): FakeRequest {
    const view = new DataView(sqe.buffer, sqe.byteOffset);
    if (Sqe.cid.get(view, 0) === 0) Sqe.cid.set(view, 0, ++this.#cid & 0xffff);
    const request = new FakeRequest(this, 0, sqe, data);
    const status = this.commands.admit(request);
    assert.ok(Number.isInteger(status), 'admit answers a status');
    if (status !== 0) request.complete(status);
    else {
      assert.ok(request.dataLength <= 1 << 20, 'admit bounds the data length');
      if ((request.opcode & 3) === 1 && request.dataLength > 0) assert.ok(data !== null, 'data was asked for');
      this.commands.execute(request);
    }
    return request;
  }

  /** A command by its layout. */
  send<V>(layout: LayoutMethods<V>, values: Partial<V>, data: Uint8Array | null = null): FakeRequest {
    return this.submit(layout.toBytes(values), data);
  }

  admin(opc: number, values: Partial<Sqe> = {}): FakeRequest {
    return this.send(Sqe, { opc, ...values });
  }

  identify(cns: number, values: Partial<IdentifySqe> = {}): FakeRequest {
    return this.send(IdentifySqe, { opc: AdminOpcode.Identify, cns, sglId: 0x5a, sglLength: 4096, ...values });
  }

  getLog(lid: number, bytes: number, values: Partial<GetLogPageSqe> = {}): FakeRequest {
    const sqe = {
      opc: AdminOpcode.GetLogPage,
      lid,
      numd: bytes / 4 - 1,
      nsid: 0xffffffff,
      sglId: 0x5a,
      sglLength: bytes,
    };
    return this.send(GetLogPageSqe, { ...sqe, ...values });
  }

  getFeature(fid: number, values: Partial<FeaturesSqe> = {}): FakeRequest {
    return this.send(FeaturesSqe, { opc: AdminOpcode.GetFeatures, fid, ...values });
  }

  setFeature(fid: number, dw11: number, values: Partial<FeaturesSqe> = {}): FakeRequest {
    return this.send(FeaturesSqe, { opc: AdminOpcode.SetFeatures, fid, dw11, ...values });
  }

  asyncEventRequest(cid = 0): FakeRequest {
    return this.admin(AdminOpcode.AsyncEventRequest, { cid });
  }

  propertyGet(ofst: number, eight = false): FakeRequest {
    return this.send(PropertySqe, { fctype: FabricsType.PropertyGet, ofst, attrib: eight ? 1 : 0 });
  }

  propertySet(ofst: number, value: number, attrib = 0): FakeRequest {
    return this.send(PropertySqe, { fctype: FabricsType.PropertySet, ofst, value: BigInt(value), attrib });
  }

  setCc(value: number): FakeRequest {
    return this.propertySet(Property.CC, value);
  }

  get csts(): number {
    return this.propertyGet(Property.CSTS).dw0;
  }
}

export const HOST = 'nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555';
export const HOSTID = '11111111-2222-3333-4444-555555555555';
export const NQN = 'nqn.2024-01.example.com:disk';
/** CC of a Linux host: 64- and 16-byte entries, all command sets, enabled. */
export const CC_ENABLE = 0x460061;
export const CC_SHUTDOWN = CC_ENABLE | 0x4000;

export interface ConnectValues {
  readonly sqe?: Partial<ConnectSqe>;
  readonly data?: Partial<ConnectData>;
  /** Replaces the Connect data. */
  readonly raw?: Uint8Array;
}

export function connectOn(queue: FakeQueue, values: ConnectValues = {}): FakeRequest {
  const data =
    values.raw ?? ConnectData.toBytes({ hostid: HOSTID, cntlid: 0xffff, subnqn: NQN, hostnqn: HOST, ...values.data });
  const sqe = ConnectSqe.toBytes({ sqsize: 31, sglId: 1, sglLength: CONNECT_DATA_SIZE, ...values.sqe });
  return queue.submit(sqe, data);
}

/** I/O commands of nobody: answers everything with success. */
export class IdleCommands implements CommandSet {
  isClosed = false;
  admit(): number {
    return 0;
  }
  execute(request: Request): void {
    request.complete(0);
  }
  closed(): void {
    this.isClosed = true;
  }
}

/** A target under a fake clock, with one subsystem of one namespace on one port, and a log of the hooks. */
export class Rig {
  readonly clock = new FakeClock(1_000_000);
  readonly log: string[] = [];
  /** The hooks about hosts. */
  readonly hostLog: string[] = [];
  readonly hooks: TargetHooks;
  readonly target: Target;
  readonly port: Port;
  readonly subsystem: Subsystem;
  /** Set to hold back what the hook would do at once. */
  holdClose = false;
  holdFlush = false;
  readonly heldCloses: (() => void)[] = [];
  readonly heldFlushes: (() => void)[] = [];

  constructor(limits: Partial<ControlLimits> = {}) {
    this.hooks = {
      ioCommands: () => new IdleCommands(),
      queueBound: (_queue, controller, qid) => this.log.push(`queueBound ${controller.cntlid}/${qid}`),
      closeQueue: (queue, controller, qid) => {
        this.log.push(`closeQueue ${controller.cntlid}/${qid}`);
        const close = (): void => {
          queue.close();
          controller.ioQueueClosed(qid);
        };
        if (this.holdClose) this.heldCloses.push(close);
        else close();
      },
      flush: (subsystem, done) => {
        this.log.push(`flush ${subsystem.nqn}`);
        if (this.holdFlush) this.heldFlushes.push(done);
        else done();
      },
      controllerCreated: (controller) => this.log.push(`controllerCreated ${controller.cntlid}`),
      controllerGone: (controller, reason) => this.log.push(`controllerGone ${controller.cntlid} ${reason}`),
      hostCreated: ({ hostnqn }) => this.hostLog.push(`hostCreated ${hostnqn}`),
      hostGone: ({ hostnqn }) => this.hostLog.push(`hostGone ${hostnqn}`),
      limitMet: (hostnqn, limit) => this.hostLog.push(`limitMet ${limit} ${hostnqn}`),
      namespacesChanged: (subsystem) => this.log.push(`namespacesChanged ${subsystem.version}`),
    };
    this.target = new Target(this.clock, this.hooks, limits);
    this.port = this.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.1', trsvcid: '4420' });
    this.subsystem = this.target.addSubsystem({ nqn: NQN, serial: 'S123', model: 'nvbraid test', firmware: '1.0' });
    this.subsystem.addNamespace({ nsid: 1, device: 'device 1', blockSize: 4096, blockCount: 1000 });
    this.target.link(this.port.portId, NQN);
  }

  queue(port = this.port, local: { traddr: string; trsvcid: string } | null = null): FakeQueue {
    const queue = new FakeQueue();
    queue.commands = this.target.acceptQueue(queue, port, local);
    return queue;
  }

  /** A connected admin queue; not enabled. */
  connect(values: ConnectValues = {}, port = this.port): { queue: FakeQueue; controller: Controller } {
    const queue = this.queue(port);
    const connect = connectOn(queue, values);
    assert.equal(connect.status, 0, `connect failed with ${connect.status?.toString(16)}, ${connect.dw0.toString(16)}`);
    const controller = this.target.controllers.find((candidate) => candidate.adminQueue === queue)!;
    assert.equal(connect.dw0, controller.cntlid);
    return { queue, controller };
  }

  /** A connected and enabled admin queue. */
  ready(values: ConnectValues = {}, port = this.port): { queue: FakeQueue; controller: Controller } {
    const { queue, controller } = this.connect(values, port);
    queue.setCc(CC_ENABLE);
    assert.equal(queue.csts, 1);
    return { queue, controller };
  }

  connectIo(controller: Controller, qid: number, values: ConnectValues = {}, port = this.port): FakeRequest {
    const queue = this.queue(port);
    return connectOn(queue, {
      sqe: { qid, sqsize: 127, ...values.sqe },
      data: { cntlid: controller.cntlid, ...values.data },
    });
  }

  advance(ms: number): void {
    this.clock.advance(ms);
    this.target.tick();
  }
}
