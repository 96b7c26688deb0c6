import { connect, type Socket } from 'node:net';
import { Memory } from '@nvbraid/base';
import {
  CapsuleCmd,
  ConnectData,
  ConnectSqe,
  Cqe,
  FabricsType,
  ICReq,
  PduType,
  Property,
  PropertySqe,
  RwSqe,
  SglId,
} from '@nvbraid/wire';

/*
 * A host that does what it likes: whole PDUs, pieces of them, resets in between. Everything that our own host would
 * never do.
 */

const HOSTNQN = 'nqn.2026-01.org.nvbraid:raw';

export function capsule(sqe: Uint8Array, data?: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(72 + (data?.length ?? 0));
  const { view } = Memory.over(bytes);
  CapsuleCmd.emit(view, 0, { pduType: PduType.CapsuleCmd, hlen: 72, pdo: data ? 72 : 0, plen: bytes.length });
  bytes.set(sqe, 8);
  if (data) bytes.set(data, 72);
  return bytes;
}

/** A read or write of 4 KiB blocks whose data goes outside the capsule, unless `data` is given. */
export function rw(opc: number, cid: number, slba: number, blocks: number, data?: Uint8Array): Uint8Array {
  const sglId = data ? SglId.inCapsule : SglId.transport;
  return capsule(
    RwSqe.toBytes({ opc, cid, psdt: 1, nsid: 1, sglId, sglLength: blocks * 4096, slba, nlb: blocks - 1 }),
    data,
  );
}

export function connectCapsule(
  nqn: string,
  qid: number,
  cntlid: number,
  sqsize = 127,
  dataBytes = 1024,
  hostnqn = HOSTNQN,
): Uint8Array {
  const data = Buffer.alloc(dataBytes);
  const hostid = '11111111-2222-4333-8444-555555555555';
  data.set(ConnectData.toBytes({ hostid, cntlid, subnqn: nqn, hostnqn }));
  const sqe = ConnectSqe.toBytes({ fctype: FabricsType.Connect, qid, sqsize, sglLength: 1024, sglId: SglId.inCapsule });
  return capsule(sqe, data);
}

export class RawPeer {
  readonly socket: Socket;
  closed = false;
  #bytes: Buffer = Buffer.alloc(0);
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (data: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#wake?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#wake?.();
    });
  }

  /** Connected, ICReq and ICResp exchanged. */
  static async open(port: number): Promise<RawPeer> {
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const peer = new RawPeer(socket);
    peer.write(ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128 }));
    await peer.pdu();
    return peer;
  }

  /** An association: its admin queue, enabled. */
  static async admin(port: number, nqn: string, hostnqn = HOSTNQN): Promise<{ admin: RawPeer; cntlid: number }> {
    const admin = await RawPeer.open(port);
    admin.write(connectCapsule(nqn, 0, 0xffff, 31, 1024, hostnqn));
    const cntlid = (await admin.response()).dw0 & 0xffff;
    await admin.setProperty(Property.CC, 0x00460001);
    return { admin, cntlid };
  }

  static async io(
    port: number,
    nqn: string,
    cntlid: number,
    qid = 1,
    sqsize = 127,
    hostnqn = HOSTNQN,
  ): Promise<RawPeer> {
    const peer = await RawPeer.open(port);
    peer.write(connectCapsule(nqn, qid, cntlid, sqsize, 1024, hostnqn));
    const { status } = await peer.response();
    if (status !== 0) throw new Error(`Connect of queue ${qid}: status 0x${status.toString(16)}`);
    return peer;
  }

  write(...pieces: Uint8Array[]): void {
    this.socket.write(Buffer.concat(pieces));
  }

  /** The next PDU; throws when the target hangs up instead. */
  async pdu(): Promise<Buffer> {
    for (;;) {
      const length = this.#bytes.length >= 8 ? this.#bytes.readUInt32LE(4) : Number.POSITIVE_INFINITY;
      if (this.#bytes.length >= length) {
        const pdu = Buffer.from(this.#bytes.subarray(0, length));
        this.#bytes = this.#bytes.subarray(length);
        return pdu;
      }
      if (this.closed) throw new Error('the target has hung up');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The next CapsuleResp; other PDUs on the way are dropped. `status` is SCT and SC without DNR. */
  async response(): Promise<{ cid: number; status: number; dw0: number }> {
    let pdu = await this.pdu();
    while (pdu[0] !== PduType.CapsuleResp) pdu = await this.pdu();
    const { cid, sct, sc, dw0 } = Cqe.parse(Memory.over(pdu).view, 8);
    return { cid, status: sct * 256 + sc, dw0 };
  }

  async property(ofst: number): Promise<number> {
    this.write(capsule(PropertySqe.toBytes({ psdt: 1, fctype: FabricsType.PropertyGet, ofst })));
    return (await this.response()).dw0;
  }

  async setProperty(ofst: number, value: number): Promise<void> {
    const sqe = PropertySqe.toBytes({ psdt: 1, fctype: FabricsType.PropertySet, ofst, value: BigInt(value) });
    this.write(capsule(sqe));
    const { status } = await this.response();
    if (status !== 0) throw new Error(`Property Set 0x${ofst.toString(16)}: status 0x${status.toString(16)}`);
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }
}
