import assert from 'node:assert/strict';
import { crc32c, FakeClock, Memory, type NvbraidError, Outbox, type Rng } from '@nvbraid/base';
import { HostQueue, type HostQueueOptions, type HostQueueOwner, HostRequest } from '@nvbraid/host';
import {
  C2HData,
  CapsuleCmd,
  CapsuleResp,
  Cqe,
  Framer,
  H2CData,
  ICReq,
  ICResp,
  type Layout,
  PDU_TYPE_NAMES,
  PduFlag,
  type PduSink,
  PduType,
  R2T,
  Sqe,
  TermReq,
} from '@nvbraid/wire';

/** One PDU that the host has sent. */
export interface SeenPdu {
  readonly type: string;
  readonly fields: Record<string, unknown>;
  /** The submission queue entry of a capsule. */
  readonly sqe: Sqe;
  readonly data: Uint8Array;
  readonly digestOk: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: any PDU layout
const LAYOUTS: Record<number, Layout<any>> = {
  [PduType.ICReq]: ICReq,
  [PduType.H2CTermReq]: TermReq,
  [PduType.CapsuleCmd]: CapsuleCmd,
  [PduType.H2CData]: H2CData,
};

/** Shared by all peers: a transport takes everything at once. */
const OUTBOX = new Outbox();
const SCRATCH = Memory.alloc(1 << 20);
OUTBOX.arena.bytes.fill(0xff);

/** Takes the host's byte stream apart. */
export class Listener implements PduSink {
  readonly seen: SeenPdu[] = [];
  readonly framer = new Framer('controller', this, { maxInCapsule: 1 << 20, maxData: 1 << 20 });
  #fields: Record<string, unknown> = {};
  #sqe = Sqe.parse(new DataView(new ArrayBuffer(64)), 0);

  pduHeader(type: number, view: DataView, base: number): void {
    this.#fields = LAYOUTS[type]!.parse(view, base);
    if (type === PduType.CapsuleCmd) this.#sqe = Sqe.parse(view, base + 8);
  }

  pduPlace(): void {
    this.framer.placeMemory = SCRATCH;
    this.framer.placeOffset = 0;
  }

  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    const data = memory.bytes.slice(offset, offset + length);
    this.seen.push({ type: PDU_TYPE_NAMES[type]!, fields: this.#fields, sqe: this.#sqe, data, digestOk });
  }

  pduFatal(fes: number, fei: number): void {
    assert.fail(`the host sent an invalid PDU: fes ${fes} fei ${fei}`);
  }
}

export interface PeerOptions extends Partial<HostQueueOptions> {
  /** Cuts what the controller sends into random pieces, some of which go straight to their destination. */
  readonly rng?: Rng;
}

/** A controller's end of one queue whose every move the test makes: send, expect, send, expect. */
export class ScriptedPeer implements HostQueueOwner {
  readonly clock = new FakeClock(1000);
  readonly queue: HostQueue;
  readonly listener = new Listener();
  readonly #out = OUTBOX;
  readonly #rng: Rng | undefined;
  /** Digests and alignment of what `send` makes. */
  hdgst = false;
  ddgst = false;
  align = 4;
  ready = 0;
  wants = 0;
  failures: NvbraidError[] = [];
  /** The last bytes of the host as they were on the wire. */
  raw: Uint8Array = new Uint8Array(0);
  timedOut: number[] = [];

  constructor(options: PeerOptions = {}) {
    const { rng, ...rest } = options;
    this.#rng = rng;
    this.queue = new HostQueue({ qid: 1, queueSize: 16, timeoutMs: 30_000, ...rest }, this, this.clock);
  }

  queueReady(): void {
    this.ready++;
  }

  queueFailed(_queue: HostQueue, error: NvbraidError): void {
    this.failures.push(error);
  }

  commandTimedOut(_queue: HostQueue, cid: number): void {
    this.timedOut.push(cid);
  }

  wantTransmit(): void {
    this.wants++;
  }

  // ---------------------------------------------------------------- what the host says

  /** Lets the host say what it has to say. */
  transmit(): void {
    for (let more = true; more; ) {
      more = this.queue.transmit(this.#out);
      const bytes = this.#out.toBytes();
      if (this.#out.bytes === 0) break;
      // Nothing may rely on a fresh arena.
      this.#out.arena.bytes.fill(0xff, 0, this.#out.used);
      this.#out.reset();
      this.raw = bytes;
      this.listener.framer.receive(Memory.over(bytes), 0, bytes.length);
    }
  }

  /** The next PDU of the host, which must have these fields (of its header, or of the SQE). */
  expect(type: string, fields: Record<string, unknown> = {}): SeenPdu {
    this.transmit();
    const pdu = this.listener.seen.shift();
    assert.ok(pdu !== undefined, `expected ${type}, the host says nothing`);
    assert.equal(pdu.type, type);
    for (const [name, value] of Object.entries(fields)) {
      const seen: unknown = name in pdu.fields ? pdu.fields[name] : (pdu.sqe as Record<string, unknown>)[name];
      assert.deepEqual(seen, value, `${type}.${name}`);
    }
    return pdu;
  }

  expectNothing(): void {
    this.transmit();
    assert.deepEqual(
      this.listener.seen.map((pdu) => pdu.type),
      [],
      'the host should be silent',
    );
  }

  // ---------------------------------------------------------------- what the controller says

  /** Any bytes, in one piece or in random ones. */
  bytes(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      const n = this.#rng === undefined ? bytes.length - at : this.#rng.between(1, Math.min(bytes.length - at, 3000));
      const direct = Math.min(this.queue.directLength, n);
      if (direct > 0 && this.#rng?.chance(0.7)) {
        const { directMemory, directOffset } = this.queue;
        directMemory.bytes.set(bytes.subarray(at, at + direct), directOffset);
        this.queue.directReceived(direct);
        at += direct;
        continue;
      }
      // Room around it, so that reading beyond the given range shows.
      const memory = Memory.alloc(n + 16);
      memory.bytes.fill(0xee);
      memory.bytes.set(bytes.subarray(at, at + n), 8);
      this.queue.receive(memory, 8, 8 + n);
      memory.bytes.fill(0xdd);
      at += n;
    }
  }

  icResp(fields: Partial<ICResp> = {}): void {
    this.hdgst = fields.hdgst === 1;
    this.ddgst = fields.ddgst === 1;
    this.listener.framer.hdgst = this.hdgst;
    this.listener.framer.ddgst = this.ddgst;
    this.bytes(ICResp.toBytes({ pduType: PduType.ICResp, hlen: 128, plen: 128, maxh2cdata: 1 << 17, ...fields }));
  }

  resp(cid: number, status = 0, cqe: Partial<Cqe> = {}): void {
    const bytes = CapsuleResp.toBytes({ pduType: PduType.CapsuleResp, hlen: 24 });
    const view = new DataView(bytes.buffer);
    Cqe.emit(view, 8, { cid, ...cqe });
    view.setUint16(8 + 14, status << 1, true);
    this.pdu(bytes);
  }

  c2hData(
    cid: number,
    datao: number,
    data: Uint8Array,
    flags = 0,
    fields: Partial<C2HData> = {},
    wrongDigest = false,
  ): void {
    const bytes = C2HData.toBytes({
      pduType: PduType.C2HData,
      hlen: 24,
      flags,
      cccid: cid,
      datao,
      datal: data.length,
      ...fields,
    });
    this.pdu(bytes, data, wrongDigest);
  }

  r2t(cid: number, ttag: number, r2to: number, r2tl: number): void {
    this.pdu(R2T.toBytes({ pduType: PduType.R2T, hlen: 24, cccid: cid, ttag, r2to, r2tl }));
  }

  termReq(fes: number, fei = 0): void {
    this.bytes(TermReq.toBytes({ pduType: PduType.C2HTermReq, hlen: 24, plen: 24, fes, fei }));
  }

  /** Completes a header with digests, padding, data and plen, and sends it. */
  pdu(header: Uint8Array, data?: Uint8Array, wrongDigest = false): void {
    const hlen = header.length;
    let pdo = hlen + (this.hdgst ? 4 : 0);
    if (data !== undefined) pdo = Math.ceil(pdo / this.align) * this.align;
    const bytes = new Uint8Array(pdo + (data === undefined ? 0 : data.length + (this.ddgst ? 4 : 0)));
    const view = new DataView(bytes.buffer);
    bytes.set(header);
    bytes[1]! |= (this.hdgst ? PduFlag.HDGSTF : 0) | (this.ddgst && data !== undefined ? PduFlag.DDGSTF : 0);
    if (data !== undefined && bytes[3] === 0) bytes[3] = pdo;
    view.setUint32(4, bytes.length, true);
    if (this.hdgst) view.setUint32(hlen, crc32c(Memory.over(bytes), 0, hlen), true);
    if (data !== undefined) {
      bytes.set(data, pdo);
      const digest = crc32c(Memory.over(data), 0, data.length);
      if (this.ddgst) view.setUint32(pdo + data.length, wrongDigest ? digest ^ 1 : digest, true);
    }
    this.bytes(bytes);
  }

  /** Brings the queue to where commands can be sent. */
  handshake(fields: Partial<ICResp> = {}): this {
    this.queue.start();
    this.expect('ICReq');
    this.icResp(fields);
    assert.equal(this.ready, 1);
    return this;
  }
}

/** A request that remembers how it ended. */
export class TestRequest extends HostRequest {
  ends = 0;
  override done = (): void => {
    this.ends++;
  };
}

export function read(length: number, memory = Memory.alloc(length), offset = 0): TestRequest {
  const request = new TestRequest();
  request.reset(0x02, 1).receives(memory, offset, length);
  request.exact = true;
  return request;
}

export function write(data: Uint8Array): TestRequest {
  const request = new TestRequest();
  request.reset(0x01, 1).sends(Memory.over(data), 0, data.length);
  request.exact = true;
  return request;
}

export function flush(): TestRequest {
  const request = new TestRequest();
  request.reset(0x00, 1);
  return request;
}

const patterns = new Map<string, Uint8Array>();

/** `length` bytes that tell where they come from; a copy of the caller's own. */
export function pattern(length: number, seed = 1): Uint8Array {
  const key = `${length} ${seed}`;
  let bytes = patterns.get(key);
  if (bytes === undefined) {
    bytes = Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 0xff);
    patterns.set(key, bytes);
  }
  return bytes.slice();
}
