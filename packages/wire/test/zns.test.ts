import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  assignedLba,
  asyncEventDw0,
  asyncEventName,
  changedZones,
  parseChangedZones,
  parseZoneReport,
  ZoneDescriptor,
  ZoneReportHeader,
  ZoneState,
} from '@nvbraid/wire';

test('the assigned LBA is 64 bits in two dwords, whatever their sign', () => {
  assert.equal(assignedLba(8, 0), 8);
  assert.equal(assignedLba(-1, 1), 0x1_ffff_ffff);
});

test('the changed zone list holds 511 zones; more are told by FFFFh', () => {
  const zones = Array.from({ length: 511 }, (_, i) => i * 65536);
  const page = changedZones(zones);
  assert.equal(page.length, 4096);
  assert.deepEqual([...page.subarray(0, 8)], [0xff, 0x01, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...page.subarray(16, 24)], [0, 0, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(parseChangedZones(page), { ok: true, value: zones });
  const many = changedZones([...zones, 1]);
  assert.deepEqual([...many.subarray(0, 10)], [0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(parseChangedZones(many), { ok: true, value: 'all' });
});

test('changed zone lists that a peer made up are refused, not read beyond', () => {
  assert.equal(parseChangedZones(new Uint8Array(4)).ok, false);
  assert.equal(parseChangedZones(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 9, 9)).ok, false);
});

test('zone reports: the head may count more zones than were sent, a state that does not exist is refused', () => {
  const bytes = new Uint8Array(64 + 64 + 20);
  const view = new DataView(bytes.buffer);
  ZoneReportHeader.emit(view, 0, { nrZones: 1000 });
  ZoneDescriptor.emit(view, 64, { zt: 2, zs: ZoneState.Empty, zcap: 8, zslba: 0, wp: 0n });
  const report = parseZoneReport(bytes);
  assert.ok(report.ok);
  assert.equal(report.value.nrZones, 1000);
  assert.equal(report.value.zones.length, 1);
  ZoneDescriptor.zs.set(view, 64, 5);
  assert.equal(parseZoneReport(bytes).ok, false);
  assert.equal(parseZoneReport(bytes.subarray(0, 63)).ok, false);
});

test('the event of a changed zone descriptor has its name', () => {
  assert.equal(asyncEventName(asyncEventDw0(2, 0xef, 0xbf)), 'Notice: Zone Descriptor Changed, log page BFh');
});
