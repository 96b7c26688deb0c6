import assert from 'node:assert/strict';
import { FakeClock, Memory, NvbraidError, Outbox } from '@nvbraid/base';
import {
  type AsyncEvent,
  HostController,
  type HostControllerEvents,
  type HostControllerOptions,
  type HostPlatform,
  type HostQueue,
} from '@nvbraid/host';
import {
  AdminOpcode,
  type AnaLog,
  C2HData,
  CapsuleResp,
  Cns,
  ConnectData,
  ConnectSqe,
  Cqe,
  FabricsType,
  FeaturesSqe,
  GetLogPageSqe,
  ICResp,
  IdentifyController,
  IdentifyNamespace,
  IdentifySqe,
  type NamespaceIds,
  namespaceDescriptors,
  namespaceList,
  nvmeVersion,
  PduFlag,
  PduType,
  Property,
  PropertySqe,
  Sqe,
} from '@nvbraid/wire';
import { Listener, type SeenPdu } from './scripted-peer.ts';

export interface Reply {
  readonly status?: number;
  readonly dw0?: number;
  readonly dw1?: number;
  readonly data?: Uint8Array;
}

/** What a rule may do: answer, or stay silent. */
export type Rule = (command: SeenCommand) => Reply | 'silence' | undefined;

export interface SeenCommand {
  readonly qid: number;
  /** E.g. `Connect`, `Property Get CAP`, `Identify 02h`, `Keep Alive`: what the trace shows. */
  readonly name: string;
  readonly cid: number;
  readonly view: DataView;
  readonly data: Uint8Array;
}

interface Association {
  readonly queue: HostQueue;
  readonly listener: Listener;
  open: boolean;
}

const CAP = 0x0000_0020_0a01_03ffn; // CSS NVM, TO 5 s, CQR, MQES 1023

/**
 * A controller without a subsystem behind it, which does as Linux' and ours do unless a rule says otherwise. Rules look
 * at a command first; the trace tells the story.
 */
export class FakeController implements HostPlatform {
  readonly clock: FakeClock;
  readonly host: HostController;
  readonly trace: string[] = [];
  readonly states: string[] = [];
  readonly events: AsyncEvent[] = [];
  readonly scans: (readonly number[])[] = [];
  readonly anaLogs: AnaLog[] = [];
  readonly rules: Rule[] = [];
  readonly identify: Partial<IdentifyController> = {
    cntrltype: 1,
    mdts: 5,
    kas: 10,
    acl: 3,
    aerl: 3,
    oaes: 0x900,
    ioccsz: 516,
    iorcsz: 1,
    nn: 1024,
    ver: nvmeVersion(2, 0),
  };
  cap = CAP;
  vs = nvmeVersion(2, 0);
  /** nsid -> blocks of 512 bytes */
  readonly namespaces = new Map<number, number>([[1, 1024]]);
  /** What it says of namespaces beside their size; identifiers are made of the nsid otherwise. */
  readonly ids = new Map<number, NamespaceIds>();
  nmic = 0;
  cntlid = 7;
  readonly waitingEvents: { association: Association; cid: number }[] = [];
  /** Connections are refused while true. */
  down = false;
  cc = 0;
  readonly #associations: Association[] = [];
  readonly #out = new Outbox();

  /** @param make the controller on the host's side; default: one that belongs to no subsystem */
  constructor(
    options: Partial<HostControllerOptions> = {},
    make: (options: HostControllerOptions, platform: HostPlatform, events: HostControllerEvents) => HostController = (
      ...given
    ) => new HostController(...given),
    clock = new FakeClock(1000),
  ) {
    this.clock = clock;
    this.host = make(
      {
        nqn: 'nqn.test:subsystem',
        hostnqn: 'nqn.test:host',
        hostid: '11111111-2222-4333-8444-555555555555',
        nrIoQueues: 1,
        queueSize: 32,
        keepAliveMs: 0,
        hdrDigest: false,
        dataDigest: false,
        disableSqflow: false,
        ioTimeoutMs: 30_000,
        adminTimeoutMs: 60_000,
        reconnectDelayMs: 10_000,
        ctrlLossTmoMs: 600_000,
        ...options,
      },
      this,
      {
        stateChanged: (state) => this.states.push(state),
        namespacesScanned: (changed) => this.scans.push(changed),
        anaRead: (log) => this.anaLogs.push(log),
        asyncEvent: (event) => this.events.push(event),
      },
    );
  }

  connect(queue: HostQueue): void {
    if (this.down) {
      queue.closed(new NvbraidError('ECONNREFUSED', 'connection refused'));
      return;
    }
    this.#associations.push({ queue, listener: new Listener(), open: true });
    queue.start();
  }

  wantTransmit(): void {}

  start(): this {
    this.host.start();
    return this.drive();
  }

  /** Answers until the host has nothing more to say. */
  drive(): this {
    for (let moved = true; moved; ) {
      moved = false;
      for (const association of [...this.#associations]) if (this.#serve(association)) moved = true;
    }
    return this;
  }

  /** Lets time pass in small steps. */
  run(ms: number, stepMs = 50): this {
    this.drive();
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      this.host.tick(this.clock.nowMs());
      this.drive();
    }
    return this;
  }

  /** The connections break. */
  drop(): this {
    this.waitingEvents.length = 0;
    for (const association of this.#associations.splice(0)) association.queue.closed(null);
    return this;
  }

  /** Answers a command that a rule has left unanswered. */
  complete(qid: number, cid: number, reply: Reply): void {
    const association = this.#associations.find((each) => each.open && each.queue.qid === qid)!;
    this.#reply(association, cid, reply);
  }

  /** Answers an asynchronous event request. */
  event(type: number, info: number, lid: number): this {
    const waiting = this.waitingEvents.shift();
    assert.ok(waiting !== undefined, 'no asynchronous event request is outstanding');
    this.#reply(waiting.association, waiting.cid, { dw0: type | (info << 8) | (lid << 16) });
    return this.drive();
  }

  /** The trace since the last call. */
  told(): string[] {
    return this.trace.splice(0);
  }

  #serve(association: Association): boolean {
    const { queue, listener } = association;
    if (!association.open) return false;
    let more = true;
    let moved = false;
    while (more) {
      more = queue.transmit(this.#out);
      if (this.#out.bytes === 0) break;
      const bytes = this.#out.toBytes();
      this.#out.reset();
      listener.framer.receive(Memory.over(bytes), 0, bytes.length);
      moved = true;
    }
    for (let pdu = listener.seen.shift(); pdu !== undefined; pdu = listener.seen.shift()) this.#heard(association, pdu);
    if (queue.finished && association.open) {
      association.open = false;
      if (queue.qid === 0) this.waitingEvents.length = 0;
      this.trace.push(`close ${queue.qid}`);
      queue.closed(null);
      moved = true;
    }
    return moved;
  }

  #heard(association: Association, pdu: SeenPdu): void {
    if (pdu.type === 'ICReq') {
      this.#send(association, ICResp.toBytes({ pduType: PduType.ICResp, hlen: 128, plen: 128, maxh2cdata: 1 << 17 }));
      return;
    }
    assert.equal(pdu.type, 'CapsuleCmd');
    const { qid } = association.queue;
    const view = new DataView(Sqe.toBytes(pdu.sqe).buffer);
    const command: SeenCommand = { qid, name: nameOf(qid, view), cid: pdu.sqe.cid, view, data: pdu.data };
    this.trace.push(qid === 0 ? command.name : `${qid}: ${command.name}`);
    for (const rule of this.rules) {
      const reply = rule(command);
      if (reply === 'silence') return;
      if (reply !== undefined) return this.#reply(association, command.cid, reply);
    }
    this.#reply(association, command.cid, this.#answer(association, command));
  }

  #answer(association: Association, { name, view, cid }: SeenCommand): Reply | 'silence' {
    if (name === 'Connect') return { dw0: this.cntlid };
    if (name === 'Async Event') {
      this.waitingEvents.push({ association, cid });
      return 'silence';
    }
    if (name === 'Property Get CAP') return { dw0: Number(this.cap & 0xffffffffn), dw1: Number(this.cap >> 32n) };
    if (name === 'Property Get VS') return { dw0: this.vs };
    if (name === 'Property Get CSTS') return { dw0: (this.cc & 1) | ((this.cc >> 14) & 3 ? 8 : 0) };
    if (name === 'Property Set CC') {
      this.cc = Number(PropertySqe.value.get(view, 0));
      return {};
    }
    if (name.startsWith('Set Features 07h')) return { dw0: FeaturesSqe.dw11.get(view, 0) };
    if (name.startsWith('Identify')) return { data: this.#identify(view) };
    if (name.startsWith('Get Log Page')) return { data: new Uint8Array(4 * (GetLogPageSqe.numd.get(view, 0) + 1)) };
    return {};
  }

  #identify(view: DataView): Uint8Array {
    const { cns, nsid } = IdentifySqe.parse(view, 0);
    if (cns === Cns.Controller) return IdentifyController.toBytes(this.identify);
    if (cns === Cns.ActiveNamespaceList) {
      const nsids = [...this.namespaces.keys()].filter((each) => each > nsid).sort((a, b) => a - b);
      return namespaceList(nsids.slice(0, 1024));
    }
    if (cns === Cns.NamespaceDescriptorList)
      return namespaceDescriptors(this.ids.get(nsid) ?? { nguid: new Uint8Array(16).fill(nsid & 255) });
    return IdentifyNamespace.toBytes({
      nsze: this.namespaces.get(nsid) ?? 0,
      ncap: this.namespaces.get(nsid) ?? 0,
      nmic: this.nmic,
      lbaf: [{ ms: 0, lbads: 9, rp: 0 }],
    });
  }

  #reply(association: Association, cid: number, reply: Reply | 'silence'): void {
    if (reply === 'silence') return;
    if (reply.data !== undefined) {
      const header = C2HData.toBytes({
        pduType: PduType.C2HData,
        flags: PduFlag.LAST_PDU,
        hlen: 24,
        pdo: 24,
        plen: 24 + reply.data.length,
        cccid: cid,
        datal: reply.data.length,
      });
      this.#send(association, header);
      this.#send(association, reply.data);
    }
    const bytes = CapsuleResp.toBytes({ pduType: PduType.CapsuleResp, hlen: 24, plen: 24 });
    const view = new DataView(bytes.buffer);
    Cqe.emit(view, 8, { cid, dw0: reply.dw0 ?? 0, dw1: reply.dw1 ?? 0 });
    view.setUint16(22, (reply.status ?? 0) << 1, true);
    this.#send(association, bytes);
  }

  #send(association: Association, bytes: Uint8Array): void {
    association.queue.receive(Memory.over(bytes.slice()), 0, bytes.length);
  }
}

const PROPERTIES: Record<number, string> = Object.fromEntries(Object.entries(Property).map(([name, at]) => [at, name]));

function nameOf(qid: number, view: DataView): string {
  const hex = (value: number): string => `${value.toString(16).padStart(2, '0')}h`;
  const opc = Sqe.opc.get(view, 0);
  if (opc === AdminOpcode.Fabrics) {
    const fctype = ConnectSqe.fctype.get(view, 0);
    if (fctype === FabricsType.Connect) return 'Connect';
    const which = PROPERTIES[PropertySqe.ofst.get(view, 0)];
    return fctype === FabricsType.PropertyGet ? `Property Get ${which}` : `Property Set ${which}`;
  }
  if (qid > 0) return `I/O ${hex(opc)}`;
  if (opc === AdminOpcode.Identify) {
    const nsid = IdentifySqe.nsid.get(view, 0);
    return `Identify ${hex(IdentifySqe.cns.get(view, 0))}${nsid === 0 ? '' : ` of ${nsid}`}`;
  }
  if (opc === AdminOpcode.SetFeatures) {
    return `Set Features ${hex(FeaturesSqe.fid.get(view, 0))} = ${FeaturesSqe.dw11.get(view, 0).toString(16)}h`;
  }
  if (opc === AdminOpcode.GetLogPage) return `Get Log Page ${hex(GetLogPageSqe.lid.get(view, 0))}`;
  if (opc === AdminOpcode.KeepAlive) return 'Keep Alive';
  if (opc === AdminOpcode.AsyncEventRequest) return 'Async Event';
  if (opc === AdminOpcode.Abort) return 'Abort';
  return `admin ${hex(opc)}`;
}

/** The Connect data of a Connect command. */
export function connectData(command: SeenCommand): ConnectData {
  return ConnectData.parse(new DataView(command.data.buffer, command.data.byteOffset), 0);
}
