import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AdminOpcode,
  AnaState,
  Cns,
  DISCOVERY_NQN,
  type DiscoveryEntry,
  type DiscoveryLog,
  Fid,
  IdentifyController,
  Lid,
  parseDiscoveryLog,
} from '@nvbraid/wire';
import type { LocalAddress, Port } from '../src/index.ts';
import { CC_ENABLE, connectOn, type FakeQueue, NQN, Rig } from './fake-queue.ts';

const DNR = 0x4000;

/** Connects to discovery as a host that came to `local`. */
function discovery(rig: Rig, port: Port = rig.port, local: LocalAddress | null = null, hostnqn?: string): FakeQueue {
  const queue = rig.queue(port, local);
  const connect = connectOn(queue, { data: { subnqn: DISCOVERY_NQN, ...(hostnqn === undefined ? {} : { hostnqn }) } });
  assert.equal(connect.status, 0);
  queue.setCc(CC_ENABLE);
  return queue;
}

function read(queue: FakeQueue): DiscoveryLog {
  const result = parseDiscoveryLog(queue.getLog(Lid.Discovery, 16 * 1024).reply!);
  assert.ok(result.ok);
  return { ...result.value, entries: result.value.entries.slice(0, result.value.numrec) };
}

/** subtype, name and address of each entry. */
function say(entries: readonly DiscoveryEntry[]): string[] {
  return entries.map((entry) => {
    const name = entry.subnqn === DISCOVERY_NQN ? 'discovery' : entry.subnqn;
    return `${entry.subtype} ${name} ${entry.adrfam}/${entry.traddr}:${entry.trsvcid} port ${entry.portid}`;
  });
}

test('the log tells of itself, then of the subsystem', () => {
  const rig = new Rig();
  const log = read(discovery(rig));
  assert.equal(log.genctr, rig.target.generation);
  assert.equal(log.numrec, 2);
  const common = { trtype: 3, adrfam: 1, treq: 4, portid: 1, cntlid: 0xffff, asqsz: 32, trsvcid: '4420' };
  const tsas = new Uint8Array(256);
  assert.deepEqual(log.entries, [
    { ...common, subtype: 3, eflags: 3, subnqn: DISCOVERY_NQN, traddr: '127.0.0.1', tsas },
    { ...common, subtype: 2, eflags: 0, subnqn: NQN, traddr: '127.0.0.1', tsas },
  ]);
});

test('an entry, byte by byte', () => {
  const rig = new Rig();
  const page = discovery(rig).getLog(Lid.Discovery, 3072).reply!;
  const expected = new Uint8Array(3072);
  const text = (at: number, length: number, value: string, pad: string): void =>
    expected.set(Buffer.from(value.padEnd(length, pad)), at);
  expected[0] = rig.target.generation;
  expected[8] = 2;
  for (const [at, subtype, eflags, nqn] of [
    [1024, 3, 3, DISCOVERY_NQN],
    [2048, 2, 0, NQN],
  ] as const) {
    expected.set([3, 1, subtype, 4, 1, 0, 0xff, 0xff, 32, 0, eflags, 0], at);
    text(at + 32, 32, '4420', ' ');
    text(at + 256, 256, nqn, '\0');
    text(at + 512, 256, '127.0.0.1', ' ');
  }
  for (let i = 0; i < 3072; i++) assert.equal(page[i], expected[i], `byte ${i}`);
});

test('the log can be read in pieces, as hosts do', () => {
  const queue = discovery(new Rig());
  const whole = queue.getLog(Lid.Discovery, 3072).reply!;
  assert.deepEqual(queue.getLog(Lid.Discovery, 1024).reply!, whole.slice(0, 1024));
  assert.deepEqual(queue.getLog(Lid.Discovery, 2048, { lpo: 1024 }).reply!, whole.slice(1024));
  assert.deepEqual(queue.getLog(Lid.Discovery, 16).reply!, whole.slice(0, 16));
});

test('every subsystem once for each port that leads to it, whichever port is asked', () => {
  const rig = new Rig();
  const six = rig.target.addPort({ portId: 7, trtype: 'tcp', adrfam: 'ipv6', traddr: 'fd00::1', trsvcid: '4421' });
  rig.target.link(six.portId, NQN);
  rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:six' });
  rig.target.addSubsystem({ nqn: 'nqn.2024-01.example.com:nowhere' });
  rig.target.link(six.portId, 'nqn.2024-01.example.com:six');
  const alone = rig.target.addPort({ portId: 9, trtype: 'tcp', adrfam: 'ipv4', traddr: '10.0.0.1', trsvcid: '8009' });
  const others = [
    `2 ${NQN} 1/127.0.0.1:4420 port 1`,
    `2 ${NQN} 2/fd00::1:4421 port 7`,
    '2 nqn.2024-01.example.com:six 2/fd00::1:4421 port 7',
  ];
  assert.deepEqual(say(read(discovery(rig, alone)).entries), ['3 discovery 1/10.0.0.1:8009 port 9', ...others]);
  assert.deepEqual(say(read(discovery(rig, six)).entries), ['3 discovery 2/fd00::1:4421 port 7', ...others]);
});

test('a host sees only what it may use', () => {
  const rig = new Rig();
  const friend = 'nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-2222-3333-4444-555555555555';
  rig.subsystem.setAllowAnyHost(false);
  rig.subsystem.allowHost(friend);
  assert.equal(read(discovery(rig)).numrec, 1);
  assert.equal(read(discovery(rig, rig.port, null, friend)).numrec, 2);
});

test('a wildcard address is told as the one that the host came to', () => {
  const rig = new Rig();
  const any4 = rig.target.addPort({ portId: 4, trtype: 'tcp', adrfam: 'ipv4', traddr: '0.0.0.0', trsvcid: '4420' });
  const any6 = rig.target.addPort({ portId: 6, trtype: 'tcp', adrfam: 'ipv6', traddr: '::', trsvcid: '4421' });
  rig.target.link(4, NQN);
  rig.target.link(6, NQN);
  rig.target.unlink(1, NQN);
  const entries = (port: Port, traddr: string): string[] =>
    say(read(discovery(rig, port, { traddr, trsvcid: '1' })).entries);
  const v4 = [`2 ${NQN} 1/192.0.2.1:4420 port 4`, `2 ${NQN} 1/192.0.2.1:4421 port 6`];
  assert.deepEqual(entries(any4, '192.0.2.1'), ['3 discovery 1/192.0.2.1:4420 port 4', ...v4]);
  assert.deepEqual(entries(any6, '::ffff:192.0.2.1'), ['3 discovery 1/192.0.2.1:4421 port 6', ...v4]);
  assert.deepEqual(entries(any6, '2001:db8::1'), [
    '3 discovery 2/2001:db8::1:4421 port 6',
    `2 ${NQN} 2/2001:db8::1:4421 port 6`, // an IPv4 listener cannot be reached there
  ]);
  assert.deepEqual(say(read(discovery(rig, any4, null)).entries), [], 'nothing is known that a host could connect to');
});

test('the generation counter follows what the log shows, and nothing else', () => {
  const rig = new Rig();
  const queue = discovery(rig);
  const { genctr } = read(queue);
  rig.subsystem.resizeNamespace(1, 5);
  rig.port.setAnaState(1, AnaState.NonOptimized);
  assert.equal(read(queue).genctr, genctr);
  rig.target.unlink(1, NQN);
  const after = read(queue);
  assert.ok(after.genctr > genctr);
  assert.equal(after.numrec, 1);
});

test('a discovery controller says what it is', () => {
  const rig = new Rig();
  const queue = discovery(rig);
  const page = queue.identify(Cns.Controller).reply!;
  const id = IdentifyController.parse(new DataView(page.buffer));
  assert.deepEqual(
    [id.cntrltype, id.dctype, id.oaes, id.kas, id.ver, id.subnqn, id.nn, id.oncs, id.maxcmd, id.cntlid],
    [2, 1, 0x80000000, 1, 0x20100, DISCOVERY_NQN, 0, 0, 1024, 1],
  );
  for (const cns of [Cns.Namespace, Cns.ActiveNamespaceList, Cns.NamespaceDescriptorList, Cns.IoCommandSets]) {
    assert.equal(queue.identify(cns, { nsid: 1 }).status, 0x02 | DNR);
  }
  for (const lid of [Lid.Smart, Lid.FirmwareSlot, Lid.ChangedNamespaceList, Lid.Ana]) {
    assert.equal(queue.getLog(lid, 64).status, 0x109 | DNR);
  }
});

test('a connection with a Keep Alive Timeout stays', () => {
  const rig = new Rig();
  const { queue, controller } = rig.ready({ data: { subnqn: DISCOVERY_NQN }, sqe: { kato: 30_000 } });
  queue.setFeature(Fid.AsyncEventConfiguration, 0x80000000);
  const event = queue.asyncEventRequest();
  for (let i = 0; i < 10; i++) {
    rig.advance(29_000);
    assert.equal(queue.admin(AdminOpcode.KeepAlive).status, 0);
  }
  rig.target.unlink(1, NQN);
  assert.equal(event.dw0, 0x70f002);
  rig.advance(30_000);
  assert.equal(controller.state, 'gone');
});

test('discovery controllers are apart from those of subsystems', () => {
  const rig = new Rig();
  discovery(rig);
  const { controller } = rig.connect();
  assert.equal(controller.cntlid, 1, 'each subsystem counts its own');
  assert.equal(rig.target.controllerCount, 2);
  rig.target.removePort(rig.port.portId);
  assert.equal(rig.target.controllerCount, 0);
  assert.deepEqual(
    rig.log.filter((line) => line.startsWith('controllerGone')),
    ['controllerGone 1 port unlinked', 'controllerGone 1 port unlinked'],
  );
  const queue = rig.queue();
  assert.equal(connectOn(queue, { data: { subnqn: DISCOVERY_NQN } }).status, 0x182 | DNR, 'the port is gone');
});

test('referrals stand in the log of their port while they are enabled', () => {
  const rig = new Rig();
  const other = rig.target.addPort({ portId: 2, trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
  const [here, there] = [discovery(rig), discovery(rig, other)];
  for (const queue of [here, there]) queue.setFeature(Fid.AsyncEventConfiguration, 0x80000000);
  const events = [here, there].map((queue) => queue.asyncEventRequest());
  const address = { trtype: 'tcp', adrfam: 'ipv6', traddr: 'fd00::9', trsvcid: '8009' };
  const { referrals } = rig.port;
  referrals.add('east', { ...address, portId: 77 });
  assert.deepEqual(
    events.map((event) => event.done),
    [true, false],
    'the log of the other port has not changed',
  );
  const log = read(here);
  assert.equal(log.entries[0]!.eflags, 2, 'not every port tells the same any more');
  const { subtype, subnqn, traddr, trsvcid, adrfam, portid, cntlid, asqsz } = log.entries.at(-1)!;
  assert.deepEqual(
    { subtype, subnqn, traddr, trsvcid, adrfam, portid, cntlid, asqsz },
    {
      subtype: 1,
      subnqn: DISCOVERY_NQN,
      traddr: 'fd00::9',
      trsvcid: '8009',
      adrfam: 2,
      portid: 77,
      cntlid: 0xffff,
      asqsz: 32,
    },
  );
  assert.equal(read(there).numrec, 2);
  const code = (expected: string) => (error: unknown) => (error as { code: string }).code === expected;
  assert.throws(() => referrals.configure('east', address), code('EACCES'));
  assert.throws(() => referrals.add('east', address), code('EBUSY'));
  referrals.setEnabled('east', false);
  assert.equal(read(here).numrec, 2);
  referrals.configure('east', { ...address, traddr: 'fd00::10' });
  assert.throws(() => referrals.configure('east', { ...address, trtype: 'pigeon' }), code('EINVAL'));
  referrals.setEnabled('east', true);
  assert.equal(read(here).entries.at(-1)!.traddr, 'fd00::10');
  referrals.remove('east');
  assert.throws(() => referrals.remove('east'), code('ENOENT'));
  assert.throws(() => referrals.add('bad', { ...address, portId: 65536 }), code('EINVAL'));
  for (let i = 0; i < 64; i++) referrals.add(`r${i}`, address);
  assert.throws(() => referrals.add('one-more', address), code('EINVAL'));
});

test('the discovery subsystem has a name of its own, and keeps the well-known one', () => {
  const rig = new Rig();
  const name = 'nqn.2024-01.example.com:discovery';
  const early = discovery(rig);
  rig.target.setDiscoveryNqn(name);
  assert.equal(read(early).entries[0]!.subnqn, name);
  for (const subnqn of [DISCOVERY_NQN, name]) {
    const { queue } = rig.ready({ data: { subnqn } });
    const id = IdentifyController.parse(new DataView(queue.identify(Cns.Controller).reply!.buffer));
    assert.equal(id.subnqn, name);
  }
  const code = (expected: string) => (error: unknown) => (error as { code: string }).code === expected;
  assert.throws(() => rig.target.addSubsystem({ nqn: name }), code('EINVAL'));
  assert.throws(() => rig.target.setDiscoveryNqn(NQN), code('EBUSY'));
  assert.throws(() => rig.target.setDiscoveryNqn('a b'), code('EINVAL'));
});

test('a log of what the port leads to: by the request of the host, or as the target is told', () => {
  const rig = new Rig();
  const other = rig.target.addPort({ portId: 2, trtype: 'tcp', adrfam: 'ipv4', traddr: '127.0.0.2', trsvcid: '4420' });
  rig.target.link(2, NQN);
  const queue = discovery(rig, other);
  const ports = (lsp: number): number[] => {
    const log = parseDiscoveryLog(queue.getLog(Lid.Discovery, 8192, { lsp }).reply!);
    assert.ok(log.ok);
    return log.value.entries.slice(0, log.value.numrec).map((entry) => entry.portid);
  };
  assert.deepEqual(ports(0), [2, 1, 2]);
  assert.deepEqual(ports(1), [2, 1, 2], 'extended entries are not supported: plain ones come');
  assert.deepEqual(ports(2), [2, 2], 'port local entries only');
  const supported = queue.getLog(Lid.SupportedLogPages, 1024).reply!;
  assert.equal(new DataView(supported.buffer).getUint32(4 * Lid.Discovery, true), 0x00020001, 'and says so');
  rig.target.setDiscoveryScope('port');
  assert.deepEqual(ports(0), [2, 2], 'as Linux');
  assert.equal(read(queue).entries[0]!.eflags, 2);
});
