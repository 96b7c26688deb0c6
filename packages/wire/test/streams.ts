import { crc32cPortable, Memory, type Rng } from '@nvbraid/base';
import {
  CommonHeader,
  Framer,
  type FramerLimits,
  type FramerRole,
  H2CData,
  PDU_HEADER_SIZES,
  PduFlag,
  type PduSink,
  PduType,
} from '@nvbraid/wire';

export interface PduOptions {
  readonly hdgst?: boolean;
  readonly ddgst?: boolean;
  /** Alignment of the payload, in bytes. */
  readonly align?: number;
  readonly flags?: number;
  /** Bytes of fields after the common header; those that are missing are zero. */
  readonly body?: Uint8Array;
  readonly data?: Uint8Array;
  /** Sends a digest that does not match. */
  readonly badHeaderDigest?: boolean;
  readonly badDataDigest?: boolean;
}

function digest(bytes: Uint8Array, damage: boolean): Uint8Array {
  const crc = crc32cPortable(Memory.over(bytes), 0, bytes.length) ^ (damage ? 0x100 : 0);
  return new Uint8Array(new Uint32Array([crc]).buffer);
}

/** The bytes of a PDU, put together piece by piece. */
export function buildPdu(type: number, options: PduOptions = {}): Uint8Array {
  const size = PDU_HEADER_SIZES[type]!;
  const bare = type <= PduType.C2HTermReq;
  const data = options.data ?? new Uint8Array(0);
  const hdgst = !bare && options.hdgst === true;
  const ddgst = !bare && options.ddgst === true && data.length > 0;
  const header = new Uint8Array(size);
  if (options.body !== undefined) header.set(options.body.subarray(0, size - 8), 8);
  const headerSize = size + (hdgst ? 4 : 0);
  const align = options.align ?? 4;
  const pdo = bare || data.length === 0 ? 0 : Math.ceil(headerSize / align) * align;
  const view = new DataView(header.buffer);
  CommonHeader.emit(view, 0, {
    pduType: type,
    flags: (options.flags ?? 0) | (hdgst ? PduFlag.HDGSTF : 0) | (ddgst ? PduFlag.DDGSTF : 0),
    hlen: size,
    pdo,
    plen: Math.max(pdo, headerSize) + data.length + (ddgst ? 4 : 0),
  });
  if (type === PduType.H2CData || type === PduType.C2HData) H2CData.datal.set(view, 0, data.length);
  const parts: Uint8Array[] = [header];
  if (hdgst) parts.push(digest(header, options.badHeaderDigest === true));
  if (pdo > headerSize) parts.push(new Uint8Array(pdo - headerSize));
  parts.push(data);
  if (ddgst) parts.push(digest(data, options.badDataDigest === true));
  return concat(parts);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function randomBytes(rng: Rng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  rng.fill(bytes);
  return bytes;
}

export interface StreamSettings {
  readonly role: FramerRole;
  readonly hdgst: boolean;
  readonly ddgst: boolean;
  readonly align: number;
}

export const LIMITS: FramerLimits = { maxInCapsule: 1024, maxData: 4096 };

export function randomSettings(rng: Rng): StreamSettings {
  return {
    role: rng.pick(['host', 'controller']),
    hdgst: rng.chance(0.5),
    ddgst: rng.chance(0.5),
    align: 4 * rng.between(1, 32),
  };
}

/** A few PDUs that are all in order, as the reader with these settings may receive them. */
export function randomStream(rng: Rng, settings: StreamSettings): Uint8Array {
  const { role, hdgst, ddgst, align } = settings;
  const parts: Uint8Array[] = [];
  const types =
    role === 'controller'
      ? [PduType.ICReq, PduType.CapsuleCmd, PduType.CapsuleCmd, PduType.H2CData]
      : [PduType.ICResp, PduType.CapsuleResp, PduType.C2HData, PduType.C2HData, PduType.R2T];
  for (let n = rng.between(1, 5); n > 0; n--) {
    const type = rng.pick(types);
    let data: Uint8Array | undefined;
    if (type === PduType.CapsuleCmd && rng.chance(0.5)) data = randomBytes(rng, rng.between(1, 1024));
    if (type === PduType.H2CData || type === PduType.C2HData)
      data = randomBytes(rng, rng.between(1, rng.pick([16, 4096])));
    const flags =
      type === PduType.H2CData
        ? rng.pick([0, PduFlag.LAST_PDU])
        : type === PduType.C2HData
          ? rng.pick([0, PduFlag.LAST_PDU, PduFlag.LAST_PDU | PduFlag.SUCCESS])
          : 0;
    parts.push(
      buildPdu(type, {
        hdgst,
        ddgst,
        align,
        flags,
        body: randomBytes(rng, 120),
        ...(data === undefined ? {} : { data }),
        badDataDigest: rng.chance(0.1),
        badHeaderDigest: rng.chance(0.02),
      }),
    );
  }
  if (rng.chance(0.15)) {
    const data = randomBytes(rng, rng.between(0, 128));
    parts.push(buildPdu(role === 'controller' ? PduType.H2CTermReq : PduType.C2HTermReq, { data }));
    if (rng.chance(0.5)) parts.push(randomBytes(rng, 30));
  }
  return concat(parts);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Writes down what the framer says, with the bytes it says it about. */
export class RecordingSink implements PduSink {
  readonly events: string[] = [];
  fatals = 0;
  headers = 0;
  payloadBytes = 0;
  framer!: Framer;
  readonly #rng: Rng;
  readonly #throwAway: boolean;

  /** @param throwAway gives no place to payload that arrives in pieces */
  constructor(rng: Rng, throwAway = false) {
    this.#rng = rng;
    this.#throwAway = throwAway;
  }

  pduHeader(type: number, view: DataView, base: number): void {
    const size = PDU_HEADER_SIZES[type]!;
    this.headers++;
    this.events.push(
      `header ${type} ${this.framer.dataLength} ${hex(new Uint8Array(view.buffer, view.byteOffset + base, size))}`,
    );
  }

  pduPlace(length: number): void {
    if (this.#throwAway) return;
    this.framer.placeOffset = this.#rng.below(9);
    this.framer.placeMemory = Memory.alloc(this.framer.placeOffset + length + this.#rng.below(9));
  }

  pduEnd(type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    this.payloadBytes += length;
    const payload = this.#throwAway ? '' : hex(memory.bytes.subarray(offset, offset + length));
    this.events.push(`end ${type} ${digestOk} ${payload}`);
  }

  pduFatal(fes: number, fei: number, header: Memory, length: number): void {
    this.fatals++;
    this.events.push(`fatal ${fes} ${fei} ${hex(header.bytes.subarray(0, length))}`);
  }
}

export function framerFor(settings: StreamSettings, sink: RecordingSink): Framer {
  const framer = new Framer(settings.role, sink, LIMITS);
  framer.hdgst = settings.hdgst;
  framer.ddgst = settings.ddgst;
  framer.dataAlign = settings.align;
  sink.framer = framer;
  return framer;
}

/** All of it in one piece. */
export function receiveWhole(framer: Framer, stream: Uint8Array): void {
  const memory = Memory.over(stream.slice());
  framer.receive(memory, 0, memory.length);
}

/** In pieces of random length at random places of the receive buffer, some straight to their destination. */
export function receiveSplit(framer: Framer, stream: Uint8Array, rng: Rng, directProbability: number): void {
  const most = rng.pick([1, 3, 10, 80, 300, 5000]);
  let at = 0;
  while (at < stream.length) {
    const direct = framer.directLength;
    if (direct > 0 && rng.chance(directProbability)) {
      const n = rng.between(1, Math.min(direct, stream.length - at));
      framer.placeMemory!.bytes.set(stream.subarray(at, at + n), framer.directOffset);
      framer.directReceived(n);
      at += n;
      continue;
    }
    const n = Math.min(rng.between(1, most), stream.length - at);
    const start = rng.below(5);
    const memory = Memory.over(new Uint8Array(start + n + rng.below(5)).fill(0xee));
    memory.bytes.set(stream.subarray(at, at + n), start);
    framer.receive(memory, start, start + n);
    // What was in the receive buffer is gone once the call has returned.
    memory.bytes.fill(0xdd);
    at += n;
  }
}
