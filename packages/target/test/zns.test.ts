import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Slab } from '@nvbraid/base';
import { type BlockDevice, memoryDevice, nullDevice, openDevice, prepareDevice, zonedDevice } from '@nvbraid/blockdev';
import {
  AsyncEventBit,
  assignedLba,
  CHANGED_ZONES_MAX,
  Cns,
  CopySqe,
  Csi,
  DNR,
  Fid,
  IdentifyControllerZoned,
  IdentifyNamespace,
  IdentifyNamespaceZoned,
  IoOpcode,
  Lid,
  NO_WRITE_POINTER,
  parseChangedZones,
  parseNamespaceDescriptors,
  parseNamespaceList,
  parseZoneReport,
  RwSqe,
  Status,
  statusName,
  ZoneAppendSqe,
  ZoneManagementReceiveSqe,
  ZoneManagementSendSqe,
  ZoneReportOption,
  ZoneSendAction,
  ZoneState,
} from '@nvbraid/wire';
import { Counter, IoCommands, IoCounters, NamespaceTable } from '../src/index.ts';
import type { CommandQueue, Request } from '../src/request.ts';
import { Rig } from './fake-queue.ts';

const BLOCK = 512;
const ZONE = 16;
const CAPACITY = 12;
const ZONES = 8;
const INVALID_FIELD = Status.InvalidField | DNR;
const CC_NVM_ONLY = 0x460001;

class ZnsRequest implements Request {
  readonly queue = null as unknown as CommandQueue;
  readonly index = 0;
  readonly sqeView: DataView;
  readonly sqeBase = 0;
  readonly cid = 1;
  readonly opcode: number;
  readonly fabrics = false;
  readonly sglLength: number;
  dataLength: number;
  dataMemory = Memory.alloc(1 << 16);
  dataOffset = 0;
  reply: Slab | null = null;
  status = -1;
  dw0 = 0;
  dw1 = 0;
  readonly over = Promise.withResolvers<void>();

  constructor(sqe: Uint8Array, sglLength: number) {
    this.sqeView = new DataView(sqe.buffer);
    this.opcode = sqe[0]!;
    this.sglLength = sglLength;
    this.dataLength = sglLength;
  }

  keepData(): void {}
  replyBuffer(): Slab {
    this.reply = new Slab(1 << 16, 16);
    return this.reply;
  }
  replyFrom(): void {
    assert.fail('not used');
  }
  replyBytes(): void {
    assert.fail('not used');
  }
  complete(status: number, dw0 = 0, dw1 = 0): void {
    assert.equal(this.status, -1, 'completed twice');
    this.status = status;
    this.dw0 = dw0;
    this.dw1 = dw1;
    this.over.resolve();
  }
}

interface Zns {
  device: BlockDevice;
  counters: IoCounters;
  run(sqe: Uint8Array, sglLength?: number, fill?: number): Promise<ZnsRequest>;
}

async function zns(options: { maxOpen?: number; maxActive?: number; nvmOnly?: boolean; readOnly?: boolean } = {}) {
  const { nvmOnly = false, readOnly = false, ...limits } = options;
  const prepared = await prepareDevice(
    zonedDevice(memoryDevice({ size: ZONES * ZONE * BLOCK, blockSize: BLOCK }), {
      zoneSize: ZONE * BLOCK,
      zoneCapacity: CAPACITY * BLOCK,
      ...limits,
    }),
  );
  const device = openDevice(prepared, { threads: 1 });
  const table = new NamespaceTable(() => device);
  const counters = new IoCounters();
  const host = { hostnqn: 'nqn.x', hostid: '', cntlid: 1, nvmOnly };
  const commands = new IoCommands(table, counters, { host });
  const namespace = {
    ...{ nsid: 1, instance: 1, csi: Csi.Zoned, blockSize: BLOCK, blockCount: ZONES * ZONE, readOnly, thin: false },
    ...{ volatileWriteCache: false, anaGroupId: 1, pathStatus: 0, device: prepared },
  };
  table.update({ nqn: 'x', portId: 1, version: 1, namespaces: [namespace] });
  const result: Zns = {
    device,
    counters,
    async run(sqe, sglLength = 0, fill = 0) {
      const request = new ZnsRequest(sqe, sglLength);
      request.dataMemory.bytes.fill(fill);
      const status = commands.admit(request);
      if (status !== 0) request.complete(status);
      else commands.execute(request);
      await request.over.promise;
      return request;
    },
  };
  return result;
}

const write = (slba: number, blocks: number): [Uint8Array, number] => [
  RwSqe.toBytes({ opc: IoOpcode.Write, nsid: 1, slba, nlb: blocks - 1 }),
  blocks * BLOCK,
];
const append = (zslba: number, blocks: number, more: Partial<ZoneAppendSqe> = {}): [Uint8Array, number] => [
  ZoneAppendSqe.toBytes({ opc: IoOpcode.ZoneAppend, nsid: 1, zslba, nlb: blocks - 1, ...more }),
  blocks * BLOCK,
];
const send = (zsa: number, slba: number, more: Partial<ZoneManagementSendSqe> = {}): [Uint8Array] => [
  ZoneManagementSendSqe.toBytes({ opc: IoOpcode.ZoneManagementSend, nsid: 1, zsa, slba, ...more }),
];
const receive = (slba: number, bytes: number, more: Partial<ZoneManagementReceiveSqe> = {}): [Uint8Array, number] => [
  ZoneManagementReceiveSqe.toBytes({
    opc: IoOpcode.ZoneManagementReceive,
    nsid: 1,
    slba,
    numd: bytes / 4 - 1,
    ...more,
  }),
  bytes,
];

function expectStatus(request: ZnsRequest, status: number): void {
  assert.equal(statusName(request.status), statusName(status));
  assert.equal(request.status, status);
}

async function reported(unit: Zns, slba = 0, bytes = 4096, more: Partial<ZoneManagementReceiveSqe> = {}) {
  const request = await unit.run(...receive(slba, bytes, more));
  expectStatus(request, 0);
  const report = parseZoneReport(request.reply!.bytes.slice(0, bytes));
  assert.ok(report.ok);
  return report.value;
}

test('Zone Append answers the place in dwords 0 and 1 and counts as a write', async () => {
  const unit = await zns();
  for (const [blocks, place] of [
    [3, 16],
    [1, 19],
    [8, 20],
  ] as const) {
    const request = await unit.run(...append(16, blocks));
    expectStatus(request, 0);
    assert.equal(assignedLba(request.dw0, request.dw1), place);
  }
  expectStatus(await unit.run(...append(16, 1)), Status.ZoneIsFull | DNR);
  assert.equal(unit.counters.words[Counter.writeCommands], 3);
  assert.equal(unit.counters.words[Counter.writtenBytes], 12 * BLOCK);
});

test('the place of an append has 64 bits', async () => {
  const blockCount = 2 ** 34;
  const zoneSize = 2 ** 29;
  const prepared = await prepareDevice(
    zonedDevice(nullDevice({ size: blockCount * BLOCK, blockSize: BLOCK }), { zoneSize }),
  );
  const device = openDevice(prepared, { threads: 1 });
  const table = new NamespaceTable(() => device);
  const commands = new IoCommands(table, new IoCounters());
  const namespace = {
    ...{ nsid: 1, instance: 1, csi: Csi.Zoned, blockSize: BLOCK, blockCount, readOnly: false, thin: false },
    ...{ volatileWriteCache: false, anaGroupId: 1, pathStatus: 0, device: prepared },
  };
  table.update({ nqn: 'x', portId: 1, version: 1, namespaces: [namespace] });
  const zslba = 2 ** 34 - 2 ** 20;
  for (const place of [zslba, zslba + 2]) {
    const request = new ZnsRequest(...append(zslba, 2));
    assert.equal(commands.admit(request), 0);
    commands.execute(request);
    expectStatus(request, 0);
    assert.deepEqual([request.dw0, request.dw1], [place % 2 ** 32, 3]);
  }
});

test('Zone Append is refused beside the start of a zone, beyond the namespace, with fields that mean nothing here', async () => {
  const unit = await zns();
  expectStatus(await unit.run(...append(17, 1)), INVALID_FIELD);
  expectStatus(await unit.run(...append(ZONES * ZONE, 1)), Status.LbaOutOfRange | DNR);
  expectStatus(await unit.run(...append(2 ** 53, 1)), Status.LbaOutOfRange | DNR);
  expectStatus(await unit.run(...append(0, 1, { piremap: 1 })), INVALID_FIELD);
  expectStatus(await unit.run(...append(0, 1, { dtype: 1 })), INVALID_FIELD);
  expectStatus(await unit.run(...append(0, 13)), Status.ZonedBoundaryError | DNR);
  expectStatus(await unit.run(append(0, 2)[0], BLOCK), Status.DataSglLengthInvalid | DNR);
  expectStatus(await unit.run(append(0, 4096)[0], 4096 * BLOCK), INVALID_FIELD);
});

test('Write and Write Zeroes go to the write pointer, and each refusal has its status', async () => {
  const unit = await zns({ maxOpen: 1, maxActive: 2 });
  expectStatus(await unit.run(...write(1, 1)), Status.ZoneInvalidWrite | DNR);
  expectStatus(await unit.run(...write(0, 13)), Status.ZonedBoundaryError | DNR);
  expectStatus(await unit.run(...write(0, 4)), 0);
  const zeroes = RwSqe.toBytes({ opc: IoOpcode.WriteZeroes, nsid: 1, slba: 4, nlb: 3 });
  expectStatus(await unit.run(zeroes), 0);
  expectStatus(await unit.run(zeroes), Status.ZoneInvalidWrite | DNR);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0)), 0);
  expectStatus(await unit.run(...write(16, 1)), Status.TooManyOpenZones | DNR);
  expectStatus(await unit.run(...send(ZoneSendAction.Close, 0)), 0);
  expectStatus(await unit.run(...write(16, 1)), 0);
  expectStatus(await unit.run(...write(32, 1)), Status.TooManyActiveZones | DNR);
  expectStatus(await unit.run(...write(8, 4)), 0);
  expectStatus(await unit.run(...write(12, 1)), Status.ZoneIsFull | DNR);
  unit.device.zones!.change(1, 'fail');
  expectStatus(await unit.run(...write(17, 1)), Status.ZoneIsReadOnly | DNR);
  unit.device.zones!.change(1, 'lose');
  expectStatus(await unit.run(...write(17, 1)), Status.ZoneIsOffline | DNR);
  const read = RwSqe.toBytes({ opc: IoOpcode.Read, nsid: 1, slba: 15, nlb: 1 });
  expectStatus(await unit.run(read, 2 * BLOCK), Status.ZoneIsOffline | DNR);
});

test('Read crosses zones and write pointers: what was not written is zero', async () => {
  const unit = await zns();
  await unit.run(...write(0, 12), 0xaa);
  await unit.run(...append(16, 1), 0xbb);
  const read = await unit.run(RwSqe.toBytes({ opc: IoOpcode.Read, nsid: 1, slba: 10, nlb: 9 }), 10 * BLOCK);
  expectStatus(read, 0);
  const first = Array.from({ length: 10 }, (_, n) => read.reply!.bytes[n * BLOCK]);
  assert.deepEqual(first, [0xaa, 0xaa, 0, 0, 0, 0, 0xbb, 0, 0, 0]);
});

test('Compare, Verify, Copy and Dataset Management on zones', async () => {
  const unit = await zns();
  await unit.run(...write(0, 4), 0x55);
  const range = { nsid: 1, slba: 0, nlb: 3 };
  expectStatus(await unit.run(RwSqe.toBytes({ opc: IoOpcode.Compare, ...range }), 4 * BLOCK, 0x55), 0);
  expectStatus(
    await unit.run(RwSqe.toBytes({ opc: IoOpcode.Compare, ...range }), 4 * BLOCK, 0x54),
    Status.CompareFailure | DNR,
  );
  expectStatus(await unit.run(RwSqe.toBytes({ opc: IoOpcode.Verify, ...range, nlb: 40 })), 0);
  // The range is all zero: one block from LBA 0 on.
  const copy = (sdlba: number): Promise<ZnsRequest> =>
    unit.run(CopySqe.toBytes({ opc: IoOpcode.Copy, nsid: 1, sdlba }), 32);
  expectStatus(await copy(20), Status.ZoneInvalidWrite | DNR);
  expectStatus(await copy(16), 0);
  assert.equal(unit.device.zones!.written(1), 1);
  expectStatus(
    await unit.run(RwSqe.toBytes({ opc: IoOpcode.WriteUncorrectable, ...range })),
    Status.InvalidOpcode | DNR,
  );
});

test('each Zone Send Action on one zone: its transitions, and none from elsewhere', async () => {
  const unit = await zns();
  const { zones } = unit.device;
  const invalid = Status.InvalidZoneStateTransition | DNR;
  expectStatus(await unit.run(...send(ZoneSendAction.Close, 0)), invalid);
  expectStatus(await unit.run(...send(ZoneSendAction.Offline, 0)), invalid);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Close, 0)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Finish, 0)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Finish, 0)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0)), invalid);
  expectStatus(await unit.run(...send(ZoneSendAction.Reset, 0)), 0);
  assert.equal(zones!.written(0), 0);
  zones!.change(1, 'fail');
  expectStatus(await unit.run(...send(ZoneSendAction.Reset, 16)), invalid);
  expectStatus(await unit.run(...send(ZoneSendAction.Offline, 16)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Offline, 16)), 0);
  expectStatus(await unit.run(...send(ZoneSendAction.Reset, 1)), INVALID_FIELD);
  expectStatus(await unit.run(...send(ZoneSendAction.Reset, ZONES * ZONE)), INVALID_FIELD);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0, { zsaso: 1 })), INVALID_FIELD);
  for (const zsa of [0, 6, ZoneSendAction.SetDescriptorExtension, ZoneSendAction.CommitZrwa, 0xff]) {
    expectStatus(await unit.run(...send(zsa, 0)), INVALID_FIELD);
  }
});

test('Select All: all zones that the action is made for, whatever slba says', async () => {
  const unit = await zns();
  for (const zone of [0, 1, 2]) await unit.run(...write(zone * ZONE, 1));
  await unit.run(...send(ZoneSendAction.Close, 0));
  const states = async (): Promise<number[]> => (await reported(unit)).zones.map(({ zs }) => zs);
  const { Empty: E, Closed: C, ImplicitlyOpened: I, ExplicitlyOpened: X, Full: F } = ZoneState;
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 3, { all: 1 })), 0);
  assert.deepEqual(await states(), [X, I, I, E, E, E, E, E]);
  expectStatus(await unit.run(...send(ZoneSendAction.Close, 3, { all: 1 })), 0);
  assert.deepEqual(await states(), [C, C, C, E, E, E, E, E]);
  expectStatus(await unit.run(...send(ZoneSendAction.Finish, 3, { all: 1 })), 0);
  assert.deepEqual(await states(), [F, F, F, E, E, E, E, E]);
  expectStatus(await unit.run(...send(ZoneSendAction.Reset, 2 ** 50, { all: 1 })), 0);
  assert.deepEqual(await states(), [E, E, E, E, E, E, E, E]);
  unit.device.zones!.change(4, 'fail');
  expectStatus(await unit.run(...send(ZoneSendAction.Offline, 0, { all: 1 })), 0);
  assert.deepEqual(await states(), [E, E, E, E, ZoneState.Offline, E, E, E]);
});

test('zone reports: every field, from any block on', async () => {
  const unit = await zns();
  await unit.run(...write(32, 5));
  await unit.run(...write(48, 12));
  const report = await reported(unit, 33);
  assert.equal(report.nrZones, 6);
  assert.deepEqual(report.zones.slice(0, 3), [
    { zt: 2, zs: ZoneState.ImplicitlyOpened, za: 0, zai: 0, zcap: CAPACITY, zslba: 32, wp: 37n },
    { zt: 2, zs: ZoneState.Full, za: 0, zai: 0, zcap: CAPACITY, zslba: 48, wp: NO_WRITE_POINTER },
    { zt: 2, zs: ZoneState.Empty, za: 0, zai: 0, zcap: CAPACITY, zslba: 64, wp: 64n },
  ]);
});

test('zone reports: filters for every state, partial or not, short buffers', async () => {
  const unit = await zns();
  await unit.run(...write(0, 1));
  await unit.run(...send(ZoneSendAction.Open, 16));
  await unit.run(...write(32, 1));
  await unit.run(...send(ZoneSendAction.Close, 32));
  await unit.run(...send(ZoneSendAction.Finish, 48));
  unit.device.zones!.change(4, 'fail');
  unit.device.zones!.change(5, 'lose');
  const found: Record<number, number[]> = {};
  for (const zrasf of Object.values(ZoneReportOption)) {
    const report = await reported(unit, 0, 4096, { zrasf });
    found[zrasf] = report.zones.map(({ zslba }) => zslba / ZONE);
    assert.equal(report.nrZones, report.zones.length);
  }
  assert.deepEqual(found, { 0: [0, 1, 2, 3, 4, 5, 6, 7], 1: [6, 7], 2: [0], 3: [1], 4: [2], 5: [3], 6: [4], 7: [5] });
  // Room for two descriptors and a half.
  const short = await reported(unit, 16, 64 + 160);
  assert.deepEqual([short.nrZones, short.zones.length], [7, 2]);
  const partial = await reported(unit, 16, 64 + 160, { partial: 1 });
  assert.deepEqual([partial.nrZones, partial.zones.length], [2, 2]);
  const headOnly = await reported(unit, 0, 64, { zrasf: ZoneReportOption.Empty });
  assert.deepEqual([headOnly.nrZones, headOnly.zones.length], [2, 0]);
  for (const more of [{ zra: 1 }, { zra: 2 }, { zrasf: 8 }, { zrasf: 9 }]) {
    expectStatus(await unit.run(...receive(0, 4096, more)), INVALID_FIELD);
  }
  expectStatus(await unit.run(...receive(0, 60)), INVALID_FIELD);
  expectStatus(await unit.run(...receive(ZONES * ZONE, 4096)), Status.LbaOutOfRange | DNR);
  expectStatus(await unit.run(receive(0, 4096)[0], 1024), Status.DataSglLengthInvalid | DNR);
  expectStatus(await unit.run(...receive(0, 4 * 2 ** 30)), INVALID_FIELD);
});

test('write protection keeps zones as they are; reports are still given', async () => {
  const unit = await zns({ readOnly: true });
  const refused = Status.NamespaceIsWriteProtected | DNR;
  expectStatus(await unit.run(...append(0, 1)), refused);
  expectStatus(await unit.run(...send(ZoneSendAction.Open, 0)), refused);
  assert.equal((await reported(unit)).nrZones, ZONES);
});

test('a host that was enabled for the NVM command set alone finds no zoned namespace', async () => {
  const unit = await zns({ nvmOnly: true });
  expectStatus(await unit.run(...append(0, 1)), Status.InvalidNamespaceOrFormat | DNR);
  const read = RwSqe.toBytes({ opc: IoOpcode.Read, nsid: 1, slba: 0, nlb: 0 });
  expectStatus(await unit.run(read, BLOCK), Status.InvalidNamespaceOrFormat | DNR);
  const { rig } = zonedRig();
  const { queue } = rig.connect();
  queue.setCc(CC_NVM_ONLY);
  assert.equal(queue.csts, 1);
  assert.deepEqual(parseNamespaceList(queue.identify(Cns.ActiveNamespaceList, { nsid: 0 }).reply!), [1]);
  assert.equal(queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).status, Status.InvalidNamespaceOrFormat | DNR);
});

test('a namespace without zones has no zone commands', async () => {
  const device = openDevice(memoryDevice({ size: 64 * BLOCK, blockSize: BLOCK }), { threads: 1 });
  const table = new NamespaceTable(() => device);
  const commands = new IoCommands(table, new IoCounters());
  const namespace = {
    ...{ nsid: 1, instance: 1, blockSize: BLOCK, blockCount: 64, readOnly: false, thin: false },
    ...{ volatileWriteCache: false, anaGroupId: 1, pathStatus: 0, device: null },
  };
  table.update({ nqn: 'x', portId: 1, version: 1, namespaces: [namespace] });
  for (const [sqe, length] of [append(0, 1), [...send(4, 0), 0] as const, receive(0, 4096)]) {
    assert.equal(commands.admit(new ZnsRequest(sqe, length)), Status.InvalidOpcode | DNR);
  }
});

function zonedRig() {
  const rig = new Rig();
  const zones = { zoneBlocks: ZONE, zoneCapacity: CAPACITY, zoneCount: ZONES, maxOpen: 3, maxActive: 0 };
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: BLOCK, blockCount: ZONES * ZONE, zones });
  return { rig, zones };
}

test('Identify tells of a zoned namespace', () => {
  const { rig } = zonedRig();
  const { queue } = rig.ready();
  const view = (page: Uint8Array): DataView => new DataView(page.buffer, page.byteOffset);
  const plain = IdentifyNamespace.parse(view(queue.identify(Cns.Namespace, { nsid: 2 }).reply!));
  assert.deepEqual([plain.nsze, plain.ncap], [ZONES * ZONE, ZONES * CAPACITY]);
  const ids = parseNamespaceDescriptors(queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).reply!);
  assert.ok(ids.ok);
  assert.equal(ids.value.csi, Csi.Zoned);
  const zoned = IdentifyNamespaceZoned.parse(view(queue.identify(Cns.CsNamespace, { nsid: 2, csi: 2 }).reply!));
  assert.deepEqual(
    [zoned.zoc, zoned.ozcs, zoned.mar, zoned.mor, zoned.lbafe[0]],
    [0, 1, 0xffffffff, 2, { zsze: ZONE, zdes: 0 }],
  );
  assert.equal(IdentifyControllerZoned.parse(view(queue.identify(Cns.CsController, { csi: 2 }).reply!)).zasl, 0);
  const listed = (csi: number): number[] =>
    parseNamespaceList(queue.identify(Cns.CsActiveNamespaceList, { nsid: 0, csi }).reply!);
  assert.deepEqual([listed(0), listed(2)], [[1], [2]]);
  const absent = IdentifyNamespaceZoned.parse(view(queue.identify(Cns.CsNamespace, { nsid: 3, csi: 2 }).reply!));
  assert.equal(absent.mar, 0);
});

test('zones that change by themselves: an event with the nsid, the list until it is read', () => {
  const { rig } = zonedRig();
  const { queue, controller } = rig.ready();
  const quiet = rig.ready();
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, AsyncEventBit.ZoneDescriptor).status, 0);
  const first = queue.asyncEventRequest();
  rig.subsystem.zoneChanged(2, 32);
  rig.subsystem.zoneChanged(2, 16);
  assert.deepEqual([first.status, first.dw0, first.dw1], [0, 0xbf_ef_02, 2]);
  const second = queue.asyncEventRequest(1);
  assert.equal(second.status, null, 'masked until the page is read');
  const read = (from: typeof queue, rae: number): number[] | 'all' => {
    const parsed = parseChangedZones(from.getLog(Lid.ChangedZoneList, 4096, { nsid: 2, csi: 2, rae }).reply!);
    assert.ok(parsed.ok);
    return parsed.value;
  };
  assert.deepEqual(read(queue, 1), [16, 32]);
  assert.deepEqual(read(queue, 0), [16, 32]);
  assert.deepEqual(read(queue, 0), []);
  rig.subsystem.zoneChanged(2, 48);
  assert.equal(second.dw0, 0xbf_ef_02);
  assert.deepEqual(read(queue, 0), [48]);
  rig.subsystem.zoneChanged(2, 48);
  assert.deepEqual(read(queue, 0), [48], 'read before anybody was told');
  assert.equal(queue.asyncEventRequest(2).status, null, 'then there is nothing to tell');
  assert.deepEqual(read(quiet.queue, 0), [16, 32, 48], 'kept for hosts that asked for no event, too');
  for (let n = 0; n <= CHANGED_ZONES_MAX; n++) rig.subsystem.zoneChanged(2, n);
  assert.equal(read(queue, 0), 'all');
  assert.equal(queue.getLog(Lid.ChangedZoneList, 4096, { nsid: 1 }).status, INVALID_FIELD);
  assert.equal(queue.getLog(Lid.ChangedZoneList, 4096, { nsid: 9 }).status, Status.InvalidNamespaceOrFormat | DNR);
  assert.throws(() => rig.subsystem.resizeNamespace(2, 5), /namespace 2 is zoned/);
  controller.remove('target closed');
});
