/* A connection that says as much of a host's beginning as it is told, and may break off anywhere. */
import { connect, type Socket } from 'node:net';
import { Memory, type Rng } from '@nvbraid/base';
import {
  CapsuleCmd,
  ConnectData,
  ConnectSqe,
  Cqe,
  FabricsType,
  ICReq,
  IoOpcode,
  PduType,
  Property,
  PropertySqe,
  RwSqe,
  SglId,
} from '@nvbraid/wire';
import { BLOCK_SIZE } from './names.ts';

const HOSTID = '5d3f1a52-7c0e-4b59-9c33-1f6e2d0a9b77';

function capsule(sqe: Uint8Array, data?: Uint8Array): Buffer {
  const bytes = Buffer.alloc(72 + (data?.length ?? 0));
  const { view } = Memory.over(bytes);
  CapsuleCmd.emit(view, 0, { pduType: PduType.CapsuleCmd, hlen: 72, pdo: data ? 72 : 0, plen: bytes.length });
  bytes.set(sqe, 8);
  if (data) bytes.set(data, 72);
  return bytes;
}

export class Peer {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #closed = false;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#wake?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  static async connect(port: number): Promise<Peer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Peer(socket);
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The next answer; data that comes before it is dropped. */
  async #response(): Promise<{ status: number; dw0: number }> {
    for (;;) {
      const length = this.#bytes.length >= 8 ? this.#bytes.readUInt32LE(4) : Number.POSITIVE_INFINITY;
      if (this.#bytes.length >= length) {
        const pdu = Buffer.from(this.#bytes.subarray(0, length));
        this.#bytes = this.#bytes.subarray(length);
        if (pdu[0] === PduType.ICResp) return { status: 0, dw0: 0 };
        if (pdu[0] !== PduType.CapsuleResp) continue;
        const { sct, sc, dw0 } = Cqe.parse(Memory.over(pdu).view, 8);
        return { status: sct * 256 + sc, dw0 };
      }
      if (this.#closed) throw new Error('the target has hung up');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async initialize(): Promise<void> {
    this.write(ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128 }));
    await this.#response();
  }

  /** @returns the cntlid */
  async join(nqn: string, host: number, qid: number, cntlid: number): Promise<number> {
    const hostnqn = `nqn.2026-01.io.github.nvbraid:soak-host-${host}`;
    const data = ConnectData.toBytes({ hostid: HOSTID, cntlid, subnqn: nqn, hostnqn });
    const sgl = { sglLength: data.length, sglId: SglId.inCapsule };
    this.write(capsule(ConnectSqe.toBytes({ fctype: FabricsType.Connect, qid, sqsize: 31, ...sgl }), data));
    const { status, dw0 } = await this.#response();
    if (status !== 0) throw new Error(`Connect of queue ${qid}: status 0x${status.toString(16)}`);
    return dw0 & 0xffff;
  }

  async setCc(value: number): Promise<void> {
    const sqe = { psdt: 1, fctype: FabricsType.PropertySet, ofst: Property.CC, value: BigInt(value) };
    this.write(capsule(PropertySqe.toBytes(sqe)));
    await this.#response();
  }

  read(cid: number, slba: number, blocks: number): void {
    const sgl = { sglId: SglId.transport, sglLength: blocks * BLOCK_SIZE };
    this.write(capsule(RwSqe.toBytes({ opc: IoOpcode.Read, cid, psdt: 1, nsid: 2, slba, nlb: blocks - 1, ...sgl })));
  }

  async readDone(): Promise<void> {
    await this.#response();
  }

  /** In order, or as a host that crashes. */
  close(reset: boolean): void {
    if (reset) this.#socket.resetAndDestroy();
    else this.#socket.end();
  }
}

export const ENABLE = 0x00460001;
export const SHUTDOWN = ENABLE | 0x4000;

/** One life of a host: admin and I/O queue, some reads, the end; broken off at a step that chance chooses. */
export async function cycle(port: number, nqn: string, host: number, rng: Rng): Promise<void> {
  const steps = rng.chance(0.5) ? 100 : rng.below(12);
  const reset = rng.chance(0.5);
  const peers: Peer[] = [];
  let step = 0;
  const more = (): boolean => step++ < steps;
  try {
    const admin = await Peer.connect(port);
    peers.push(admin);
    if (!more()) return;
    if (rng.chance(0.05)) {
      admin.write(new Uint8Array(rng.between(1, 200)).fill(rng.below(256)));
      return;
    }
    await admin.initialize();
    if (!more()) return;
    const cntlid = await admin.join(nqn, host, 0, 0xffff);
    if (!more()) return;
    await admin.setCc(ENABLE);
    if (!more()) return;
    const io = await Peer.connect(port);
    peers.push(io);
    if (!more()) return;
    await io.initialize();
    if (!more()) return;
    await io.join(nqn, host, 1, cntlid);
    if (!more()) return;
    for (let i = 0; i < 4; i++) io.read(i, rng.below(1024), rng.between(1, 64));
    if (!more()) return;
    for (let i = 0; i < 4; i++) await io.readDone();
    if (!more()) return;
    io.read(9, 0, 1);
    await admin.setCc(SHUTDOWN);
    if (!more()) return;
    await admin.setCc(0);
  } finally {
    for (const peer of peers) peer.close(reset);
  }
}
