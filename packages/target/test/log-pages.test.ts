import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdminOpcode,
  AnaState,
  Cns,
  DISCOVERY_NQN,
  ErrorLogEntry,
  Lid,
  parseAnaLog,
  parseChangedNamespaces,
  parseEffectsLog,
  parseSupportedLogPages,
  SmartLog,
} from '@nvbraid/wire';
import { IoCommands, IoCounters, type IoTotals, NamespaceTable } from '../src/index.ts';
import { type FakeQueue, NQN, Rig } from './fake-queue.ts';

const DNR = 0x4000;
const INVALID_FIELD = 0x02 | DNR;

const PAGES = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0c, 0x0e, 0x12, 0x13, 0x1e, 0x80, 0xbf];
const DISCOVERY_PAGES = [0x00, 0x01, 0x05, 0x12, 0x13, 0x70];

function hex(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.subarray(from, to)).toString('hex');
}

test('the supported pages are those that can be read', () => {
  const rig = new Rig();
  for (const [subnqn, pages] of [
    [NQN, PAGES],
    [DISCOVERY_NQN, DISCOVERY_PAGES],
  ] as const) {
    const { queue } = rig.ready({ data: { subnqn } });
    const log = queue.getLog(Lid.SupportedLogPages, 1024).reply!;
    assert.deepEqual([...parseSupportedLogPages(log).keys()], pages);
    for (let lid = 0; lid < 256; lid++) {
      // Of one namespace: it must be named.
      const named = lid === Lid.ChangedZoneList ? 0x0b | DNR : 0;
      const expected = (pages as readonly number[]).includes(lid) ? named : 0x109 | DNR;
      assert.equal(queue.getLog(lid, 16).status, expected, `log page ${lid}`);
    }
  }
});

test('any dword aligned part of a page can be read; beyond its end come zeroes', () => {
  const { queue } = new Rig().ready();
  const whole = queue.getLog(Lid.CommandsSupportedAndEffects, 4096).reply!;
  for (const [offset, bytes] of [
    [0, 4],
    [8, 64],
    [1024, 32],
    [4092, 4],
  ] as const) {
    const part = queue.getLog(Lid.CommandsSupportedAndEffects, bytes, { lpo: offset }).reply!;
    assert.deepEqual(part, whole.slice(offset, offset + bytes));
  }
  const over = queue.getLog(Lid.CommandsSupportedAndEffects, 64, { lpo: 4064 }).reply!;
  assert.equal(over.length, 64);
  assert.ok(over.subarray(32).every((b) => b === 0));
  assert.equal(queue.getLog(Lid.FirmwareSlot, 1 << 20).reply!.length, 1 << 20);
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { lpo: 512 }).status, 0, 'the end itself');
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { lpo: 516 }).status, INVALID_FIELD);
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { lpo: 2 ** 63 }).status, INVALID_FIELD);
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { lpo: 2 }).status, INVALID_FIELD, 'not aligned');
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { ot: 1 }).status, INVALID_FIELD, 'no index');
  assert.equal(queue.getLog(Lid.FirmwareSlot, (1 << 20) + 4).status, INVALID_FIELD, 'more than MDTS');
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { numd: 0xffffffff }).status, INVALID_FIELD);
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { sglLength: 12 }).status, 0x0f | DNR);
  assert.equal(queue.getLog(Lid.FirmwareSlot, 16, { sglLength: 512 }).reply!.length, 16);
});

test('pages belong to the controller: a command names no namespace, or all', () => {
  const { queue } = new Rig().ready();
  for (const lid of PAGES.filter((page) => page !== Lid.ChangedZoneList)) {
    assert.equal(queue.getLog(lid, 16, { nsid: 0 }).status, 0);
    assert.equal(queue.getLog(lid, 16, { nsid: 1 }).status, INVALID_FIELD);
  }
});

test('the error log tells the newest first', () => {
  const { queue } = new Rig().ready();
  const none = queue.getLog(Lid.Error, 64).reply!;
  assert.ok(none.every((b) => b === 0));
  queue.admin(0x99, { cid: 500, nsid: 7 });
  queue.identify(Cns.Namespace, { cid: 501, nsid: 0 });
  queue.propertyGet(4);
  const log = queue.getLog(Lid.Error, 4 * 64).reply!;
  const view = new DataView(log.buffer);
  const entries = [0, 1, 2, 3].map((i) => ErrorLogEntry.parse(view, 64 * i));
  assert.deepEqual(
    entries.map((entry) => [entry.ecnt, entry.status, entry.opc, entry.nsid]),
    [
      [3, (0x4002 << 1) & 0xffff, 0x7f, 0],
      [2, (0x400b << 1) & 0xffff, 0x06, 0],
      [1, (0x4001 << 1) & 0xffff, 0x99, 7],
      [0, 0, 0, 0],
    ],
  );
  assert.deepEqual([entries[1]!.cid, entries[1]!.sqid, entries[1]!.trtype], [501, 0, 3]);
  assert.deepEqual([entries[1]!.pelByte, entries[1]!.pelBit], [0xff, 7], 'no particular place');
  for (let i = 0; i < 200; i++) queue.admin(0x99);
  const full = queue.getLog(Lid.Error, 128 * 64).reply!;
  assert.equal(ErrorLogEntry.ecnt.get(new DataView(full.buffer), 0), 203);
  assert.equal(ErrorLogEntry.ecnt.get(new DataView(full.buffer), 127 * 64), 76);
});

test('SMART tells what the data plane counts', () => {
  const rig = new Rig();
  const totals: IoTotals = {
    readCommands: 10,
    writeCommands: 2 ** 40,
    readBytes: 512_001,
    writtenBytes: 512_000,
    mediaErrors: 3,
  };
  rig.hooks.ioTotals = (subsystem) => {
    assert.equal(subsystem, rig.subsystem);
    return totals;
  };
  rig.clock.advance(7_200_000);
  const { queue } = rig.ready();
  queue.admin(0x99);
  const log = SmartLog.parse(new DataView(queue.getLog(Lid.Smart, 512).reply!.buffer));
  assert.deepEqual(
    [log.dur, log.duw, log.hrc, log.hwc, log.mdie, log.neile, log.poh, log.ctemp, log.cw, log.avsp],
    [2n, 1n, 10n, 2n ** 40n, 3n, 1n, 2n, 298, 0, 100],
  );
});

test('SMART without counters is not an error', () => {
  const { queue } = new Rig().ready();
  assert.equal(SmartLog.parse(new DataView(queue.getLog(Lid.Smart, 512).reply!.buffer)).hrc, 0n);
});

test('the firmware slot', () => {
  const { queue } = new Rig().ready();
  const log = queue.getLog(Lid.FirmwareSlot, 512).reply!;
  assert.equal(log[0], 1);
  assert.equal(Buffer.from(log.subarray(8, 16)).toString(), '1.0     ');
});

test('the effects log says what is run, and the data plane agrees', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const log = parseEffectsLog(queue.getLog(Lid.CommandsSupportedAndEffects, 4096).reply!);
  assert.deepEqual([...log.admin.keys()], [0x02, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x18, 0x38, 0x7f, 0x86]);
  assert.deepEqual(
    [...log.io].map(([opcode, effects]) => [opcode, effects.lbcc, effects.csp]),
    [
      [0x00, 0, 0],
      [0x01, 1, 0],
      [0x02, 0, 0],
      [0x04, 1, 0],
      [0x05, 0, 0],
      [0x08, 1, 0],
      [0x09, 1, 0],
      [0x0c, 0, 0],
      [0x0d, 0, 0],
      [0x0e, 0, 0],
      [0x11, 0, 0],
      [0x15, 0, 0],
      [0x19, 1, 0],
    ],
  );
  const zoned = parseEffectsLog(queue.getLog(Lid.CommandsSupportedAndEffects, 4096, { csi: 2 }).reply!);
  const added = [...zoned.io].filter(([opcode]) => !log.io.has(opcode));
  assert.deepEqual(
    added.map(([opcode, effects]) => [opcode, effects.lbcc, effects.csp]),
    [
      [0x79, 1, 0],
      [0x7a, 0, 0],
      [0x7d, 1, 0],
    ],
  );
  const table = new NamespaceTable(() => assert.fail('no device is opened'));
  const io = new IoCommands(table, new IoCounters());
  for (let opcode = 0; opcode < 0x7f; opcode++) {
    const request = { fabrics: false, opcode, sqeView: new DataView(new ArrayBuffer(64)), sqeBase: 0 };
    const unknown = io.admit(request as never) === (0x01 | DNR);
    assert.equal(unknown, !log.io.has(opcode) && !zoned.io.has(opcode), `I/O opcode ${opcode}`);
  }
  const others = parseEffectsLog(queue.getLog(Lid.CommandsSupportedAndEffects, 4096, { csi: 1 }).reply!);
  assert.deepEqual([others.admin.size, others.io.size], [10, 0], 'nothing of other command sets');
});

test('changed namespaces are listed until the page is read without RAE', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const read = (rae: number): number[] | 'all' =>
    parseChangedNamespaces(queue.getLog(Lid.ChangedNamespaceList, 4096, { rae }).reply!);
  assert.deepEqual(read(1), []);
  rig.subsystem.addNamespace({ nsid: 9, device: null, blockSize: 512, blockCount: 8 });
  rig.subsystem.resizeNamespace(1, 2000);
  rig.subsystem.removeNamespace(9);
  assert.deepEqual(read(1), [1, 9]);
  assert.deepEqual(read(0), [1, 9]);
  assert.deepEqual(read(0), []);
  rig.subsystem.setReadOnly(1, true);
  rig.subsystem.setReadOnly(1, true);
  assert.deepEqual(read(0), [1]);
  for (let nsid = 2; nsid <= 1024; nsid++) {
    rig.subsystem.addNamespace({ nsid, device: null, blockSize: 512, blockCount: 8 });
  }
  rig.subsystem.resizeNamespace(1, 10);
  const all = read(0);
  assert.equal(all.length, 1024, 'as many as a page holds');
  assert.deepEqual([all[0], all[1023]], [1, 1024]);
});

test('a read that waits for payload memory does not lose the list', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  rig.subsystem.resizeNamespace(1, 2000);
  queue.starve = 1;
  const request = queue.getLog(Lid.ChangedNamespaceList, 4096);
  assert.equal(request.done, false);
  queue.commands.execute(queue.starved.shift()!);
  assert.deepEqual(parseChangedNamespaces(request.reply!), [1]);
});

function readAna(queue: FakeQueue, lsp = 0): ReturnType<typeof parseAnaLog> & { ok: true } {
  const log = queue.getLog(Lid.Ana, 8208, { lsp }).reply!;
  const result = parseAnaLog(log, 128);
  assert.ok(result.ok);
  return result as typeof result & { ok: true };
}

test('the ANA log, byte by byte', () => {
  const rig = new Rig();
  rig.subsystem.addNamespace({ nsid: 0x102, device: null, blockSize: 512, blockCount: 8 });
  const { queue } = rig.ready();
  const log = queue.getLog(Lid.Ana, 56).reply!;
  // Group 1 was made, and two namespaces came.
  assert.equal(hex(log, 0, 16), '03000000000000000100000000000000');
  assert.equal(hex(log, 16, 48), `0100000002000000030000000000000001${'00'.repeat(15)}`);
  assert.equal(hex(log, 48, 56), '0100000002010000');
  const groups = queue.getLog(Lid.Ana, 56, { lsp: 1 }).reply!;
  assert.equal(hex(groups, 16, 56), `0100000000000000030000000000000001${'00'.repeat(23)}`);
});

test('the ANA log follows groups and their states', () => {
  const rig = new Rig();
  const other = rig.target.addPort({ trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
  rig.target.link(other.portId, NQN);
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 8, anaGroupId: 5 });
  const { queue } = rig.ready();
  const there = rig.ready({}, other);
  const states = (from: FakeQueue): [number, number, readonly number[]][] =>
    readAna(from).value.groups.map((group) => [group.grpid, group.state, group.nsids]);
  assert.deepEqual(states(queue), [
    [1, 1, [1]],
    [5, 1, [2]],
  ]);
  const before = readAna(queue).value;
  rig.port.setAnaState(5, AnaState.Inaccessible);
  rig.port.setAnaState(7, AnaState.NonOptimized);
  assert.deepEqual(states(queue), [
    [1, 1, [1]],
    [5, 3, [2]],
    [7, 2, []],
  ]);
  assert.deepEqual(states(there.queue), [
    [1, 1, [1]],
    [5, 1, [2]],
  ]);
  const after = readAna(queue).value;
  assert.equal(after.chgcnt, before.chgcnt + 2);
  assert.equal(after.groups[1]!.chgcnt, before.groups[1]!.chgcnt + 1);
  assert.equal(after.groups[0]!.chgcnt, before.groups[0]!.chgcnt, 'nobody touched group 1');
  assert.equal(after.groups[2]!.chgcnt, 1);
  rig.port.setAnaState(5, AnaState.Inaccessible);
  rig.subsystem.resizeNamespace(1, 5);
  assert.equal(readAna(queue).value.chgcnt, after.chgcnt, 'nothing has changed that the log shows');
  rig.subsystem.setAnaGroup(1, 5);
  const moved = readAna(queue).value;
  assert.equal(moved.chgcnt, after.chgcnt + 1);
  assert.deepEqual(
    moved.groups.map((group, i) => group.chgcnt - after.groups[i]!.chgcnt),
    [1, 1, 0],
    'one group lost it, one got it',
  );
  assert.deepEqual(states(queue), [
    [1, 1, []],
    [5, 3, [1, 2]],
    [7, 2, []],
  ]);
  assert.deepEqual(
    readAna(queue, 1).value.groups.map((group) => group.nsids.length),
    [0, 0, 0],
  );
});

test('the largest ANA log fits into one transfer', () => {
  const rig = new Rig();
  for (let nsid = 2; nsid <= 1024; nsid++) {
    rig.subsystem.addNamespace({ nsid, device: null, blockSize: 512, blockCount: 8, anaGroupId: 1 + (nsid % 128) });
  }
  const { queue } = rig.ready();
  const { groups } = readAna(queue).value;
  assert.equal(groups.length, 128);
  assert.equal(
    groups.reduce((sum, group) => sum + group.nsids.length, 0),
    1024,
  );
});

test('there are no management commands', () => {
  const { queue } = new Rig().ready();
  assert.ok(queue.getLog(Lid.NvmeMiEffects, 4096).reply!.every((b) => b === 0));
  assert.equal(queue.admin(AdminOpcode.GetLogPage, { cdw10: 0xff }).status, 0x109 | DNR);
});
