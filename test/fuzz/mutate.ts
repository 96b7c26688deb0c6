/* What may happen to a session on its way: fields with other values, PDUs lost, doubled, swapped, bytes of noise. */
import type { Rng } from '@nvbraid/base';
import { type Agreed, seal, termReq } from '../support/raw-pdu.ts';

/** Fields by offset and size: common header, then the specific part, which in a capsule is the SQE. */
const FIELDS: readonly (readonly [number, number])[] = [
  ...([
    [0, 1],
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 4],
  ] as const), // type flags hlen pdo plen
  ...([
    [8, 2],
    [10, 2],
    [12, 4],
    [16, 4],
    [10, 1],
    [11, 1],
  ] as const), // cccid ttag datao datal; pfv hpda dgst maxr2t; opc cid
  ...([
    [8, 1],
    [9, 1],
    [32, 4],
    [36, 4],
    [40, 4],
    [47, 1],
  ] as const), // opc psdt sgl address, length, type
  ...([
    [48, 4],
    [50, 2],
    [52, 4],
    [56, 4],
    [60, 4],
  ] as const), // cdw10 to cdw13; qid sqsize kato
];
const VALUES = [0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 31, 32, 72, 76, 127, 128, 255, 256, 1024, 4095, 4096, 8192, 8193, 65535];
const LARGE = [65536, 1 << 20, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff];
const STEPS = [-512, -8, -4, -1, 1, 4, 8, 512];

/** Changes the PDUs of a session in one or more ways, and answers the stream. */
export function mutate(pdus: Uint8Array[], agreed: Agreed, rng: Rng, others: () => Uint8Array[]): Uint8Array {
  if (rng.chance(0.02)) {
    const noise = new Uint8Array(rng.between(1, 400));
    rng.fill(noise);
    return noise;
  }
  for (let n = rng.pick([1, 1, 1, 2, 3]); n > 0; n--) changePdus(pdus, agreed, rng, others);
  let stream = concat(pdus);
  if (rng.chance(0.1)) stream = changeBytes(stream, rng);
  return stream;
}

function changePdus(pdus: Uint8Array[], agreed: Agreed, rng: Rng, others: () => Uint8Array[]): void {
  const i = rng.below(pdus.length);
  const pdu = pdus[i];
  if (pdu === undefined) return;
  switch (rng.below(12)) {
    case 0:
      pdus.splice(i, 1);
      break;
    case 1:
      pdus.splice(i, 0, pdu.slice());
      break;
    case 2: {
      const j = rng.below(pdus.length);
      pdus[i] = pdus[j]!;
      pdus[j] = pdu;
      break;
    }
    case 3:
      pdus.splice(i, 0, rng.pick(others()));
      break;
    case 4:
      for (let n = rng.between(1, 8); n > 0; n--) pdu[rng.below(pdu.length)]! ^= 1 << rng.below(8);
      if (rng.chance(0.5)) seal(pdu, agreed);
      break;
    case 5:
      pdus.splice(i + 1, 0, termReq(rng.between(0, 7), rng.u32()));
      break;
    case 6: // one command again and again
      for (let n = rng.pick([2, 8, 40, 140]); n > 0; n--) pdus.splice(i, 0, pdu.slice());
      break;
    default:
      changeField(pdu, rng);
      if (rng.chance(0.8)) seal(pdu, agreed);
  }
}

function changeField(pdu: Uint8Array, rng: Rng): void {
  const [offset, size] = rng.pick(FIELDS);
  if (offset + size > pdu.length) return;
  const view = new DataView(pdu.buffer, pdu.byteOffset);
  const get =
    size === 1 ? view.getUint8(offset) : size === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
  const value = rng.pick([
    rng.pick(VALUES),
    rng.pick(LARGE),
    get + rng.pick(STEPS),
    get ^ (1 << rng.below(size * 8)),
    rng.u32(),
  ]);
  if (size === 1) view.setUint8(offset, value & 0xff);
  else if (size === 2) view.setUint16(offset, value & 0xffff, true);
  else view.setUint32(offset, value >>> 0, true);
}

function changeBytes(stream: Uint8Array, rng: Rng): Uint8Array {
  const at = rng.below(stream.length);
  const length = rng.between(1, 64);
  if (rng.chance(0.3)) return stream.slice(0, at);
  if (rng.chance(0.5)) return concat([stream.subarray(0, at), stream.subarray(Math.min(stream.length, at + length))]);
  const noise = new Uint8Array(length);
  rng.fill(noise);
  return concat([stream.subarray(0, at), noise, stream.subarray(at)]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
