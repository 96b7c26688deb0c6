import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  C2HData,
  CapsuleCmd,
  CapsuleResp,
  Cqe,
  DNR,
  emitC2HData,
  emitCapsuleCmd,
  emitCapsuleResp,
  emitH2CData,
  emitR2T,
  emitRwSqe,
  H2CData,
  R2T,
  RwSqe,
  SglId,
  Sqe,
  Status,
} from '@nvbraid/wire';
import fc from 'fast-check';

const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const u32 = fc.nat(0xffffffff);

/** The view of 24 bytes, or another number, inside bytes that must be written over, and must not be left. */
function target(size = 24): { view: DataView; written: () => Uint8Array } {
  const bytes = new Uint8Array(size + 8).fill(0xff);
  return {
    view: new DataView(bytes.buffer),
    written: () => {
      assert.deepEqual([...bytes.slice(0, 4), ...bytes.slice(size + 4)], new Array(8).fill(0xff));
      return bytes.slice(4, size + 4);
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

test('command capsules: whatever the entry holds, with identifier and SGL descriptor of the queue', () => {
  const dwords = fc.array(u32, { minLength: 6, maxLength: 6 });
  const sglId = fc.constantFrom(...Object.values(SglId));
  fc.assert(
    fc.property(
      u8,
      u8,
      u8,
      u32,
      fc.nat(3),
      u32,
      dwords,
      u16,
      u32,
      sglId,
      (flags, opc, pdo, plen, fuse, nsid, cdw, cid, length, id) => {
        const [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = cdw as [number, number, number, number, number, number];
        const given = { opc, fuse, nsid, cdw2: cdw13, cdw3: cdw12, mptr: cdw11 * 2 ** 20 + 1 };
        const rest = { cdw10, cdw11, cdw12, cdw13, cdw14, cdw15 };
        // What the queue fills in is written over.
        const sqe = Sqe.toBytes({ ...given, ...rest, psdt: 2, cid: cid ^ 0xffff, sglAddress: 2 ** 40 + 7, sglType: 3 });
        const capsule = target(72);
        emitCapsuleCmd(capsule.view, 4, flags, pdo, plen, new DataView(sqe.buffer), cid, length, id);
        const sent = Sqe.toBytes({
          ...{ ...given, ...rest, psdt: 1, cid },
          ...{ sglLength: length, sglType: id >> 4, sglSubtype: id & 15 },
        });
        assert.deepEqual(capsule.written(), CapsuleCmd.toBytes({ pduType: 4, flags, hlen: 72, pdo, plen, sqe: sent }));
      },
    ),
  );
});

test('entries of commands for a range of blocks', () => {
  const slba = fc.maxSafeNat();
  fc.assert(
    fc.property(u8, u32, slba, u16, fc.nat(1), (opc, nsid, slba, nlb, fua) => {
      const bytes = new Uint8Array(64).fill(0xff);
      emitRwSqe(new DataView(bytes.buffer), opc, nsid, slba, nlb, fua);
      assert.deepEqual(bytes, RwSqe.toBytes({ opc, nsid, slba, nlb, fua }));
    }),
  );
});
