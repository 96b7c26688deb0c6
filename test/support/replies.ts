/* What a controller answers, taken apart and checked: every reply must be a whole, well-formed PDU. */
import assert from 'node:assert/strict';
import { Memory } from '@nvbraid/base';
import { C2HData, CapsuleResp, Cqe, Framer, ICResp, PduFlag, type PduSink, PduType, R2T, TermReq } from '@nvbraid/wire';

export type Reply =
  | { kind: 'ICResp'; hdgst: boolean; ddgst: boolean; cpda: number; maxh2cdata: number }
  | { kind: 'TermReq'; fes: number; fei: number; header: Uint8Array }
  | { kind: 'Completion'; cid: number; status: number; dw0: number; sqhd: number }
  | { kind: 'Data'; cid: number; datao: number; data: Uint8Array; success: boolean }
  | { kind: 'R2T'; cid: number; ttag: number; offset: number; length: number };

const LONGEST_DATA = 16 << 20;
const CQE_AT = 8;

export class ReplyReader implements PduSink {
  readonly framer = new Framer('host', this, { maxInCapsule: 0, maxData: LONGEST_DATA });
  #seen: Reply[] = [];
  #header: Reply | null = null;

  /** The replies in these bytes, which must end with a whole PDU. */
  read(bytes: Uint8Array): Reply[] {
    this.#seen = [];
    this.framer.receive(Memory.over(bytes), 0, bytes.length);
    assert.ok(this.framer.idle || !this.framer.alive, 'the reply ends within a PDU');
    return this.#seen;
  }

  pduHeader(type: number, view: DataView, base: number): void {
    switch (type) {
      case PduType.ICResp: {
        const values = ICResp.parse(view, base);
        this.#header = { ...values, kind: 'ICResp', hdgst: values.hdgst === 1, ddgst: values.ddgst === 1 };
        this.framer.hdgst = values.hdgst === 1;
        this.framer.ddgst = values.ddgst === 1;
        break;
      }
      case PduType.CapsuleResp: {
        const { cid, dw0, sqhd, sct, sc, dnr } = Cqe.parse(view, base + CQE_AT);
        this.#header = { kind: 'Completion', cid, dw0, sqhd, status: (sct << 8) | sc | (dnr << 14) };
        assert.equal(CapsuleResp.pdo.get(view, base), 0);
        break;
      }
      case PduType.C2HData: {
        const { cccid, datao, flags } = C2HData.parse(view, base);
        const success = (flags & PduFlag.SUCCESS) !== 0;
        this.#header = { kind: 'Data', cid: cccid, datao, success, data: new Uint8Array() };
        break;
      }
      case PduType.R2T: {
        const { cccid, ttag, r2to, r2tl } = R2T.parse(view, base);
        this.#header = { kind: 'R2T', cid: cccid, ttag, offset: r2to, length: r2tl };
        break;
      }
      default: {
        const { fes, fei } = TermReq.parse(view, base);
        this.#header = { kind: 'TermReq', fes, fei, header: new Uint8Array() };
      }
    }
  }

  pduPlace(length: number): void {
    this.framer.placeMemory = Memory.alloc(length);
    this.framer.placeOffset = 0;
  }

  pduEnd(_type: number, memory: Memory, offset: number, length: number, digestOk: boolean): void {
    assert.ok(digestOk, 'the data digest of a reply is wrong');
    const reply = this.#header!;
    if (reply.kind === 'Data') reply.data = memory.bytes.slice(offset, offset + length);
    if (reply.kind === 'TermReq') reply.header = memory.bytes.slice(offset, offset + length);
    this.#seen.push(reply);
  }

  pduFatal(fes: number, fei: number): void {
    assert.fail(`the reply is no PDU that a host accepts: fatal error status ${fes}, field ${fei}`);
  }
}
