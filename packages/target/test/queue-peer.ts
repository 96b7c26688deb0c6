import assert from 'node:assert/strict';
import { crc32c, Memory, Outbox, Rng, SlabPool } from '@nvbraid/base';
import {
  C2HData,
  CapsuleCmd,
  CapsuleResp,
  Cqe,
  Framer,
  H2CData,
  ICReq,
  ICResp,
  PduFlag,
  type PduSink,
  PduType,
  R2T,
  RwSqe,
  SglId,
  Status,
  TermReq,
} from '@nvbraid/wire';
import type { QueueOptions } from '../src/queue-interface.ts';
import { QueuePair } from '../src/queue-pair.ts';
import type { CommandSet, Request } from '../src/request.ts';

/** A command set that stores writes in one memory and answers reads from it; opcode 0x80 stays under way. */
export class Store implements CommandSet {
  readonly memory = Memory.alloc(1 << 20);
  readonly held: Request[] = [];
  admitted = 0;
  executed = 0;
  closings = 0;
  useSlabs = false;

  admit(request: Request): number {
    this.admitted++;
    if (request.opcode === 0x7e) return Status.InvalidOpcode;
    return 0;
  }

  execute(request: Request): void {
    this.executed++;
    const at = RwSqe.slba.get(request.sqeView, request.sqeBase);
    if (request.opcode === 0x01) {
      const { bytes } = request.dataMemory;
      this.memory.bytes.set(bytes.subarray(request.dataOffset, request.dataOffset + request.dataLength), at);
      request.complete(0);
    } else if (request.opcode === 0x02) {
      if (this.useSlabs) {
        const slab = request.replyBuffer();
        if (slab === null) return;
        slab.bytes.set(this.memory.bytes.subarray(at, at + request.dataLength));
      } else request.replyFrom(this.memory, at);
      request.complete(0);
    } else if (request.opcode === 0x80 || request.opcode === 0x81) this.held.push(request);
    else request.complete(0, 0x1234);
  }

  closed(): void {
    this.closings++;
  }
}

export type Seen = { type: number; values: Record<string, unknown>; data: Uint8Array; digestOk: boolean };

/** The other end: speaks bytes, remembers the PDUs that came back. */
export class Peer implements PduSink {
  readonly store = new Store();
  readonly commands: CommandSet;
  readonly pool: SlabPool;
  readonly queue: QueuePair;
  readonly framer: Framer;
  readonly out = new Outbox(64 * 1024, 64);
  seen: Seen[] = [];
  wants = 0;
  starvations = 0;
  #header: Record<string, unknown> = {};

  /** @param commands default: `store` */
  constructor(options: QueueOptions = {}, poolBytes = 8 << 20, commands?: CommandSet) {
    this.commands = commands ?? this.store;
    this.pool = new SlabPool(poolBytes);
    const environment = {
      pool: this.pool,
      wantTransmit: () => {
        this.wants++;
      },
      starved: () => {
        this.starvations++;
      },
    };
    this.queue = new QueuePair(environment, this.commands, options);
    this.framer = new Framer('host', this, { maxInCapsule: 0, maxData: 1 << 20 });
  }

  pduHeader(type: number, view: DataView, base: number): void {
    const of = { 1: ICResp, 3: TermReq, 5: CapsuleResp, 7: C2HData, 9: R2T }[type]!;
    this.#header = of.parse(view, base) as Record<string, unknown>;
    if (type === PduType.CapsuleResp) this.#header = Cqe.parse(view, base + 8) as Record<string, unknown>;
  }
  pduPlace(length: number): void {
    this.framer.placeMemory = Memory.alloc(length);
    this.framer.placeOffset = 0;
  }
  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    this.seen.push({ type, values: this.#header, data: memory.bytes.slice(offset, offset + length), digestOk });
  }
  pduFatal(fes: number, fei: number): void {
    assert.fail(`the target sent nonsense: ${fes} ${fei}`);
  }

  send(bytes: Uint8Array): void {
    this.queue.receive(Memory.over(bytes), 0, bytes.length);
  }

  /** Everything that the queue has to say. */
  poll(): Seen[] {
    this.seen = [];
    for (let more = true; more; ) {
      more = this.queue.transmit(this.out);
      const bytes = this.out.toBytes();
      this.framer.receive(Memory.over(bytes), 0, bytes.length);
      this.out.reset();
    }
    return this.seen;
  }

  handshake(ic: Record<string, number> = {}, sqSize = 16, sqFlowControl = true): this {
    this.send(ICReq.toBytes({ pduType: 0, hlen: 128, plen: 128, ...ic }));
    assert.equal(this.poll()[0]!.type, PduType.ICResp);
    this.framer.hdgst = ic.hdgst === 1;
    this.framer.ddgst = ic.ddgst === 1;
    this.queue.bind(1, sqSize, sqFlowControl, this.commands);
    return this;
  }

  capsule(cid: number, opc: number, fields: Record<string, number> = {}, data?: Uint8Array): Uint8Array {
    const hd = this.framer.hdgst ? 4 : 0;
    const dd = this.framer.ddgst && data ? 4 : 0;
    const pdo = data ? 72 + hd : 0;
    const m = Memory.alloc(72 + hd + (data?.length ?? 0) + dd);
    CapsuleCmd.emit(m.view, 0, {
      pduType: PduType.CapsuleCmd,
      flags: (hd ? PduFlag.HDGSTF : 0) | (dd ? PduFlag.DDGSTF : 0),
      hlen: 72,
      pdo,
      plen: m.length,
    });
    RwSqe.emit(m.view, 8, {
      opc,
      cid,
      nsid: 1,
      psdt: 1,
      sglId: data ? SglId.inCapsule : SglId.transport,
      sglLength: data?.length ?? 0,
      ...fields,
    });
    if (hd) m.view.setUint32(72, crc32c(m, 0, 72), true);
    if (data) {
      m.bytes.set(data, pdo);
      if (dd) m.view.setUint32(pdo + data.length, crc32c(m, pdo, data.length), true);
    }
    return m.bytes;
  }

  h2c(cid: number, ttag: number, offset: number, data: Uint8Array, damage = false): Uint8Array {
    const hd = this.framer.hdgst ? 4 : 0;
    const dd = this.framer.ddgst ? 4 : 0;
    const m = Memory.alloc(24 + hd + data.length + dd);
    H2CData.emit(m.view, 0, {
      pduType: PduType.H2CData,
      flags: (hd ? PduFlag.HDGSTF : 0) | (dd ? PduFlag.DDGSTF : 0) | PduFlag.LAST_PDU,
      hlen: 24,
      pdo: 24 + hd,
      plen: m.length,
      cccid: cid,
      ttag,
      datao: offset,
      datal: data.length,
    });
    if (hd) m.view.setUint32(24, crc32c(m, 0, 24), true);
    m.bytes.set(data, 24 + hd);
    if (dd) m.view.setUint32(24 + hd + data.length, crc32c(m, 24 + hd, data.length) ^ (damage ? 1 : 0), true);
    return m.bytes;
  }
}

export const pattern = (length: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(length);
  new Rng(seed).fill(bytes);
  return bytes;
};
export const status = (seen: Seen | undefined): number =>
  (seen!.values.sct as number) * 256 + (seen!.values.sc as number);
