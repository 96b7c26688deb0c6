import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Cns,
  IdentifyController,
  IdentifyNamespace,
  IdentifyNamespaceIndependent,
  parseNamespaceDescriptors,
  parseNamespaceList,
} from '@nvbraid/wire';
import { NQN, Rig } from './fake-queue.ts';

const DNR = 0x4000;
const INVALID_FIELD = 0x02 | DNR;
const INVALID_NAMESPACE = 0x0b | DNR;

function hex(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.subarray(from, to)).toString('hex');
}

function zero(bytes: Uint8Array): boolean {
  return bytes.every((b) => b === 0);
}

test('Identify Controller, byte by byte', () => {
  const { queue, controller } = new Rig().ready();
  const page = queue.identify(Cns.Controller).reply!;
  assert.equal(page.length, 4096);
  // Written out from Base 2.1, figure "Identify Controller data structure"; every byte that is not zero.
  const expected = new Uint8Array(4096);
  const put = (at: number, ...bytes: number[]): void => expected.set(bytes, at);
  const text = (at: number, length: number, value: string): void =>
    expected.set(Buffer.from(value.padEnd(length, ' ')), at);
  text(4, 20, 'S123');
  text(24, 40, 'nvbraid test');
  text(64, 8, '1.0');
  put(72, 6); // RAB
  put(76, 0x0b); // CMIC: ports, controllers, ANA
  put(77, 8); // MDTS: 1 MiB
  put(78, 1, 0); // CNTLID
  put(80, 0x00, 0x01, 0x02, 0x00); // VER 2.1.0
  put(92, 0x00, 0x29, 0x10, 0x08); // OAES: namespace attributes, ANA, LBA status, Cross-Controller Reset, zones
  put(96, 0x41, 0, 4); // CTRATT: 128-bit host identifier, without one no reservations; traffic based Keep Alive
  put(111, 1); // I/O controller
  put(135, controller.ciu);
  expected.set(new Uint8Array(new BigUint64Array([controller.cirn]).buffer), 136); // CIRN
  put(257, 2); // OACS: Get LBA Status
  put(258, 3, 3, 3, 0x26, 127); // ACL, AERL, FRMW, LPA, ELPE
  put(266, 0x57, 0x01, 0x75, 0x01); // WCTEMP 343 K, CCTEMP 373 K
  put(320, 1); // KAS
  put(342, 10, 0x1f); // ANATT, ANACAP
  put(344, 128, 0, 0, 0, 128); // ANAGRPMAX, NANAGRPID
  put(386, 0xec, 0x13); // CQT 5100 ms
  put(512, 0x66, 0x44, 0x00, 0x04); // SQES, CQES, MAXCMD 1024
  put(516, 0x00, 0x04); // NN 1024
  put(520, 0xfd, 0x01); // ONCS: Compare, DSM, Write Zeroes, save and select, reservations, Timestamp, Verify, Copy
  put(525, 7); // VWC: present, Flush of all namespaces supported
  put(531, 3); // NWPC: write protect, and until power cycle
  put(534, 1); // CDFS: format 0h
  put(536, 0x01, 0x00, 0x30, 0x00); // SGLS
  put(540, 0x00, 0x04); // MNAN
  text(768, NQN.length, NQN);
  put(1792, 0x04, 0x02, 0, 0, 1); // IOCCSZ (64 + 8192) / 16, IORCSZ
  put(1803, 1); // MSDBD
  put(1807, 4); // CCRL
  for (let i = 0; i < 4096; i++) assert.equal(page[i], expected[i], `byte ${i}`);
});

test('fused Compare and Write is told when every namespace can', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  const fuses = (): number =>
    IdentifyController.parse(new DataView(queue.identify(Cns.Controller).reply!.buffer)).fuses;
  assert.equal(fuses(), 0, 'namespace 1 cannot');
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 8, compareAndWrite: true });
  assert.equal(fuses(), 0);
  rig.subsystem.removeNamespace(1);
  assert.equal(fuses(), 1);
});

test('Identify Controller names the controller that answers', () => {
  const rig = new Rig();
  rig.connect();
  const { queue, controller } = rig.ready();
  assert.equal(controller.cntlid, 2);
  assert.equal(IdentifyController.parse(new DataView(queue.identify(Cns.Controller).reply!.buffer)).cntlid, 2);
});

test('Identify Namespace, byte by byte', () => {
  const rig = new Rig();
  rig.subsystem.addNamespace({
    nsid: 7,
    device: null,
    blockSize: 512,
    blockCount: 0x1_2345_6789,
    thin: true,
    readOnly: true,
    anaGroupId: 3,
    nguid: '00112233-4455-6677-8899-aabbccddeeff',
    eui64: '0102030405060708',
  });
  const { queue } = rig.ready();
  const page = queue.identify(Cns.Namespace, { nsid: 7 }).reply!;
  assert.equal(hex(page, 0, 24), '8967452301000000'.repeat(3));
  assert.equal(hex(page, 24, 34), '01000000000001fe0009'); // thin; shared; all reservations, not persistent; zeroes, Write Zeroes deallocates
  assert.equal(hex(page, 34, 48), '00'.repeat(14), 'one block is atomic');
  assert.equal(hex(page, 48, 64), '0012cf8a460200000000000000000000'); // bytes
  assert.equal(hex(page, 64, 74), '00'.repeat(10));
  assert.equal(hex(page, 74, 81), '0008002000007f'); // MSSRL 1 MiB, MCL 4 MiB, MSRC 127
  assert.equal(hex(page, 81, 92), '00'.repeat(11));
  assert.equal(hex(page, 92, 104), '030000000000000100000000'); // ANA group; write protected
  assert.equal(hex(page, 104, 128), '00112233445566778899aabbccddeeff0102030405060708');
  assert.equal(hex(page, 128, 132), '00000900');
  assert.ok(zero(page.subarray(132)));
  const other = IdentifyNamespace.parse(new DataView(queue.identify(Cns.Namespace, { nsid: 1 }).reply!.buffer));
  assert.deepEqual([other.nsfeat, other.dlfeat, other.nsattr, other.lbaf[0]!.lbads], [0, 1, 0, 12]);
});

test('which nsid each structure takes', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  for (const cns of [Cns.Namespace, Cns.CsNamespace, Cns.IndependentNamespace]) {
    assert.equal(queue.identify(cns, { nsid: 1 }).status, 0);
    const inactive = queue.identify(cns, { nsid: 2 });
    assert.ok(inactive.status === 0 && zero(inactive.reply!), `CNS ${cns} of an inactive namespace is zero`);
    assert.ok(zero(queue.identify(cns, { nsid: 1024 }).reply!));
    for (const nsid of [0, 1025, 0xfffffffe, 0xffffffff]) {
      assert.equal(queue.identify(cns, { nsid }).status, INVALID_NAMESPACE, `CNS ${cns}, nsid ${nsid}`);
    }
  }
  for (const nsid of [0, 2, 1025, 0xffffffff]) {
    assert.equal(queue.identify(Cns.NamespaceDescriptorList, { nsid }).status, INVALID_NAMESPACE);
  }
  for (const cns of [Cns.ActiveNamespaceList, Cns.CsActiveNamespaceList]) {
    assert.equal(queue.identify(cns, { nsid: 0xfffffffd }).status, 0);
    assert.equal(queue.identify(cns, { nsid: 0xfffffffe }).status, INVALID_NAMESPACE);
    assert.equal(queue.identify(cns, { nsid: 0xffffffff }).status, INVALID_NAMESPACE);
  }
  for (const nsid of [0, 1, 99, 0xffffffff]) assert.equal(queue.identify(Cns.Controller, { nsid }).status, 0);
});

test('the active list goes on after the nsid that is given', () => {
  const rig = new Rig();
  for (let nsid = 1024; nsid >= 2; nsid -= 1) {
    rig.subsystem.addNamespace({ nsid, device: null, blockSize: 512, blockCount: 1 });
  }
  rig.subsystem.removeNamespace(500);
  const { queue } = rig.ready();
  const all = parseNamespaceList(queue.identify(Cns.ActiveNamespaceList).reply!);
  assert.equal(all.length, 1023);
  assert.deepEqual(all.slice(497, 501), [498, 499, 501, 502]);
  assert.deepEqual(parseNamespaceList(queue.identify(Cns.ActiveNamespaceList, { nsid: 1022 }).reply!), [1023, 1024]);
  assert.deepEqual(parseNamespaceList(queue.identify(Cns.CsActiveNamespaceList, { nsid: 1024 }).reply!), []);
});

test('descriptors hold every identifier and the command set', () => {
  const rig = new Rig();
  rig.subsystem.addNamespace({
    nsid: 2,
    device: null,
    blockSize: 512,
    blockCount: 8,
    uuid: '01234567-89ab-cdef-0123-456789abcdef',
    nguid: '00112233445566778899aabbccddeeff',
    eui64: '0102030405060708',
  });
  const { queue } = rig.ready();
  const list = queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).reply!;
  const eui64 = '010800000102030405060708';
  const nguid = '0210000000112233445566778899aabbccddeeff';
  const uuid = '031000000123456789abcdef0123456789abcdef';
  assert.equal(hex(list, 0, 64), `${eui64}${nguid}${uuid}0401000000${'00'.repeat(7)}`);
  const ids = parseNamespaceDescriptors(queue.identify(Cns.NamespaceDescriptorList, { nsid: 1 }).reply!);
  assert.ok(ids.ok);
  assert.deepEqual(Object.keys(ids.value).sort(), ['csi', 'uuid']);
});

test('a default UUID depends on subsystem and nsid alone', () => {
  const uuid = (): string => new Rig().subsystem.namespace(1)!.uuid;
  assert.equal(uuid(), uuid());
  assert.match(uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const rig = new Rig();
  const second = rig.subsystem.addNamespace({ device: null, blockSize: 512, blockCount: 1 });
  assert.equal(second.nsid, 2);
  assert.notEqual(second.uuid, uuid());
  const other = rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:disl' });
  assert.notEqual(other.addNamespace({ device: null, blockSize: 512, blockCount: 1 }).uuid, uuid());
});

test('structures of command sets: those of the NVM and the zoned one, each for its namespaces', () => {
  const rig = new Rig();
  const { queue } = rig.ready();
  for (const cns of [Cns.CsNamespace, Cns.CsController, Cns.CsActiveNamespaceList]) {
    assert.equal(queue.identify(cns, { nsid: 1, csi: 0 }).status, 0);
    for (const csi of [1, 3, 0x30, 0xff]) {
      assert.equal(queue.identify(cns, { nsid: 1, csi }).status, INVALID_FIELD, `CNS ${cns}, CSI ${csi}`);
    }
  }
  // Namespace 1 is not zoned.
  assert.equal(queue.identify(Cns.CsNamespace, { nsid: 1, csi: 2 }).status, INVALID_FIELD);
  const sets = queue.identify(Cns.IoCommandSets, { cntid: 0xffff });
  assert.equal(hex(sets.reply!, 0, 16), `05${'00'.repeat(15)}`);
  assert.equal(queue.identify(Cns.IoCommandSets, { cntid: 1 }).status, 0);
  assert.equal(queue.identify(Cns.IoCommandSets, { cntid: 99 }).status, INVALID_FIELD);
});

test('command set independent Identify tells of the write cache and the state', () => {
  const rig = new Rig();
  const cached = {
    device: null,
    blockSize: 512,
    blockCount: 1,
    volatileWriteCache: true,
    anaGroupId: 2,
    readOnly: true,
  };
  rig.subsystem.addNamespace({ nsid: 2, ...cached });
  const { queue } = rig.ready();
  const parse = (nsid: number): IdentifyNamespaceIndependent =>
    IdentifyNamespaceIndependent.parse(new DataView(queue.identify(Cns.IndependentNamespace, { nsid }).reply!.buffer));
  assert.deepEqual(
    [parse(1).nsfeat, parse(1).nmic, parse(1).anagrpid, parse(1).nsattr, parse(1).nrdy],
    [0x20, 1, 1, 0, 1],
  );
  assert.deepEqual(
    [parse(2).nsfeat, parse(2).nmic, parse(2).anagrpid, parse(2).nsattr, parse(2).nrdy],
    [0, 1, 2, 1, 1],
  );
});

test('a CNS that is not supported, and a descriptor without room', () => {
  const { queue } = new Rig().ready();
  for (const cns of [0x04, 0x09, 0x0a, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1b, 0x1d, 0x1f, 0x20, 0xff]) {
    assert.equal(queue.identify(cns, { nsid: 1 }).status, INVALID_FIELD, `CNS ${cns}`);
  }
  assert.equal(queue.identify(Cns.Controller, { sglLength: 4095 }).status, 0x0f | DNR);
  assert.equal(
    queue.identify(Cns.Controller, { sglLength: 8192 }).reply!.length,
    4096,
    'more room than needed is fine',
  );
});

test('a reply waits while there is no payload memory', () => {
  const { queue } = new Rig().ready();
  queue.starve = 1;
  const request = queue.identify(Cns.Controller);
  assert.equal(request.done, false);
  queue.commands.execute(queue.starved.shift()!);
  assert.equal(request.status, 0);
  assert.equal(request.reply!.length, 4096);
});
