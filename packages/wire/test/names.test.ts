import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ADMIN_OPCODE_NAMES,
  AdminOpcode,
  AsyncEventNotice,
  AsyncEventType,
  asyncEventDw0,
  asyncEventName,
  DNR,
  FABRICS_STATUS_NAMES,
  FABRICS_TYPE_NAMES,
  FabricsStatus,
  FabricsType,
  FES_NAMES,
  Fes,
  IO_OPCODE_NAMES,
  IoOpcode,
  Lid,
  nvmeVersion,
  opcodeName,
  PDU_HEADER_SIZES,
  PduType,
  STATUS_NAMES,
  Status,
  statusName,
  statusParts,
} from '@nvbraid/wire';

test('every number has a name and every name its number', () => {
  for (const [numbers, names] of [
    [Status, STATUS_NAMES],
    [FabricsStatus, FABRICS_STATUS_NAMES],
    [AdminOpcode, ADMIN_OPCODE_NAMES],
    [IoOpcode, IO_OPCODE_NAMES],
    [FabricsType, FABRICS_TYPE_NAMES],
    [Fes, FES_NAMES],
  ] as const) {
    const values = Object.values(numbers) as number[];
    assert.equal(new Set(values).size, values.length, 'no number twice');
    assert.deepEqual(
      values.sort((a, b) => a - b),
      Object.keys(names)
        .map(Number)
        .sort((a, b) => a - b),
    );
  }
  assert.deepEqual(Object.values(PduType).sort(), Object.keys(PDU_HEADER_SIZES).map(Number).sort());
});

test('statuses by the figures of the specification', () => {
  for (const [status, fabrics, name] of [
    [0x000, false, 'Successful Completion'],
    [0x002, false, 'Invalid Field in Command'],
    [0x00b, false, 'Invalid Namespace or Format'],
    [0x019, false, 'Keep Alive Timer Expired'],
    [0x080, false, 'LBA Out of Range'],
    [0x083, false, 'Reservation Conflict'],
    [0x109, false, 'Invalid Log Page'],
    [0x182, false, 'Attempted Write to Read Only Range'],
    [0x182, true, 'Connect Invalid Parameters'],
    [0x184, true, 'Connect Invalid Host'],
    [0x191, false, 'Authentication Required'],
    [0x002, true, 'Invalid Field in Command'],
    [0x285, false, 'Compare Failure'],
    [0x301, false, 'Asymmetric Access Persistent Loss'],
    [0x302, false, 'Asymmetric Access Inaccessible'],
    [0x303, false, 'Asymmetric Access Transition'],
    [0x370, false, 'Host Pathing Error'],
    [0x0bf, false, 'Unknown Status 0h/BFh'],
    [0x1c5, false, 'Vendor Specific Status 1h/C5h'],
    [0x701, false, 'Vendor Specific Status 7h/01h'],
    [0x080 | DNR | 0x2000 | 0x1800, false, 'LBA Out of Range'],
  ] as const)
    assert.equal(statusName(status, fabrics), name);
  assert.deepEqual(statusParts(0x080 | DNR), { sct: 0, sc: 0x80, crd: 0, dnr: true, more: false });
  assert.deepEqual(statusParts(0x3281 | 0x0800), { sct: 2, sc: 0x81, crd: 3, dnr: false, more: true });
});

test('opcodes by queue and by fabrics type', () => {
  assert.equal(opcodeName(0x02, true), 'Get Log Page');
  assert.equal(opcodeName(0x02, false), 'Read');
  assert.equal(opcodeName(0x7f, true, 0x01), 'Connect');
  assert.equal(opcodeName(0x7f, true), 'Fabrics');
  assert.equal(opcodeName(0xc1, true), 'opcode C1h');
});

test('asynchronous events', () => {
  const dw0 = asyncEventDw0(AsyncEventType.Notice, AsyncEventNotice.AnaChange, Lid.Ana);
  assert.equal(dw0, 0x000c0302);
  assert.equal(asyncEventName(dw0), 'Notice: Asymmetric Namespace Access Change, log page 0Ch');
  assert.equal(asyncEventName(0x0070f002), 'Notice: Discovery Log Page Change, log page 70h');
  assert.equal(asyncEventName(0xffffffff), 'Vendor specific: information FFh, log page FFh');
});

test('versions', () => {
  assert.equal(nvmeVersion(2, 1), 0x20100);
  assert.equal(nvmeVersion(1, 3, 5), 0x10305);
});
