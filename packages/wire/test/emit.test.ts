import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  C2HData,
  CapsuleResp,
  Cqe,
  DNR,
  emitC2HData,
  emitCapsuleResp,
  emitH2CData,
  emitR2T,
  H2CData,
  R2T,
  Status,
} from '@nvbraid/wire';
import fc from 'fast-check';

const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);

/** The view of 24 bytes inside bytes that must be written over, and must not be left. */
function target(): { view: DataView; written: () => Uint8Array } {
  const bytes = new Uint8Array(32).fill(0xff);
  return {
    view: new DataView(bytes.buffer),
    written: () => {
      assert.deepEqual([...bytes.slice(0, 4), ...bytes.slice(28)], new Array(8).fill(0xff));
      return bytes.slice(4, 28);
    },
  };
}

test('the quick writers write what the layouts say', () => {
  fc.assert(
    fc.property(u8, u8, u32, u16, u16, u32, u32, (flags, pdo, plen, cccid, ttag, offset, length) => {
      const common = { flags, hlen: 24, plen, cccid };
      const h2c = target();
      emitH2CData(h2c.view, 4, flags, pdo, plen, cccid, ttag, offset, length);
      assert.deepEqual(
        h2c.written(),
        H2CData.toBytes({ ...common, pduType: 6, pdo, ttag, datao: offset, datal: length }),
      );
      const c2h = target();
      emitC2HData(c2h.view, 4, flags, pdo, plen, cccid, offset, length);
      assert.deepEqual(c2h.written(), C2HData.toBytes({ ...common, pduType: 7, pdo, datao: offset, datal: length }));
      const r2t = target();
      emitR2T(r2t.view, 4, flags, plen, cccid, ttag, offset, length);
      assert.deepEqual(r2t.written(), R2T.toBytes({ ...common, pduType: 9, ttag, r2to: offset, r2tl: length }));
    }),
  );
});

test('responses: dwords, sqhd and the status beside the phase bit', () => {
  const statuses = [...Object.values(Status), ...Object.values(Status).map((status) => status | DNR)];
  fc.assert(
    fc.property(
      u8,
      u32,
      u32,
      u32,
      u16,
      u16,
      fc.constantFrom(...statuses),
      (flags, plen, dw0, dw1, sqhd, cid, status) => {
        const resp = target();
        emitCapsuleResp(resp.view, 4, flags, plen, dw0, dw1, sqhd, cid, status);
        const cqe = Cqe.toBytes({
          dw0,
          dw1,
          sqhd,
          cid,
          sc: status & 0xff,
          sct: (status >> 8) & 7,
          dnr: status & DNR ? 1 : 0,
        });
        assert.deepEqual(resp.written(), CapsuleResp.toBytes({ pduType: 5, flags, hlen: 24, plen, cqe }));
      },
    ),
  );
});
