import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import {
  Cns,
  Fid,
  Lid,
  parseAnaLog,
  parseChangedNamespaces,
  parseControllerList,
  parseNamespaceList,
} from '@nvbraid/wire';
import { type Controller, Subsystem } from '../src/index.ts';
import { type FakeQueue, NQN, Rig } from './fake-queue.ts';

/* Which namespaces a host sees: those that are enabled and shown to it. To others they are not there. */

const DNR = 0x4000;
const A = 'nqn.2024-01.example.com:host-a';
const B = 'nqn.2024-01.example.com:host-b';
const DISK = { device: null, blockSize: 512, blockCount: 8 };

function fails(code: string, call: () => unknown, message: RegExp): void {
  assert.throws(call, (error) => error instanceof NvbraidError && error.code === code && message.test(error.message));
}

interface Host {
  readonly queue: FakeQueue;
  readonly controller: Controller;
}

/** Two hosts; namespace 2 is shown to the first. */
function hosts(): { rig: Rig; a: Host; b: Host } {
  const rig = new Rig();
  rig.subsystem.addNamespace({ ...DISK, nsid: 2, hosts: [A] });
  const [a, b] = [A, B].map((hostnqn) => rig.ready({ data: { hostnqn } })) as [Host, Host];
  for (const { queue } of [a, b]) queue.setFeature(Fid.AsyncEventConfiguration, 0x900);
  return { rig, a, b };
}

const active = ({ queue }: Host): number[] => parseNamespaceList(queue.identify(Cns.ActiveNamespaceList).reply!);
const allocated = ({ queue }: Host): number[] => parseNamespaceList(queue.identify(Cns.AllocatedNamespaceList).reply!);
const inAna = ({ queue }: Host): readonly number[] => {
  const log = parseAnaLog(queue.getLog(Lid.Ana, 4096).reply!);
  assert.ok(log.ok);
  return log.value.groups.flatMap((group) => group.nsids);
};

test('a namespace that is not shown to a host is inactive for it everywhere', () => {
  const { a, b } = hosts();
  assert.deepEqual([active(a), active(b)], [[1, 2], [1]]);
  assert.deepEqual([allocated(a), allocated(b)], [[1, 2], [1]]);
  assert.deepEqual([inAna(a), inAna(b)], [[1, 2], [1]]);
  for (const cns of [Cns.Namespace, Cns.IndependentNamespace, Cns.AllocatedNamespace]) {
    assert.ok(a.queue.identify(cns, { nsid: 2 }).reply!.some((byte) => byte !== 0));
    assert.ok(b.queue.identify(cns, { nsid: 2 }).reply!.every((byte) => byte === 0));
  }
  assert.equal(a.queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).status, 0);
  assert.equal(b.queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).status, 0x0b | DNR);
  assert.equal(b.queue.getFeature(Fid.NamespaceWriteProtection, { nsid: 2 }).status, 0x0b | DNR);
});

test('only hosts that see a difference are told', () => {
  const { rig, a, b } = hosts();
  const told = (change: () => void): [number[], number[]] => {
    const events = [a, b].map(({ queue }) => queue.asyncEventRequest());
    change();
    const lists = [a, b].map(({ queue }) =>
      parseChangedNamespaces(queue.getLog(Lid.ChangedNamespaceList, 4096).reply!),
    );
    [a, b].forEach(({ queue }, i) => {
      assert.equal(events[i]!.done, (lists[i] as number[]).length > 0);
      queue.setFeature(Fid.AsyncEventConfiguration, 0x900);
    });
    return lists as [number[], number[]];
  };
  assert.deepEqual(
    told(() => rig.subsystem.attachHost(2, B)),
    [[], [2]],
  );
  rig.subsystem.resizeNamespace(2, 9);
  assert.deepEqual(
    [a, b].map(({ queue }) => parseChangedNamespaces(queue.getLog(Lid.ChangedNamespaceList, 4096).reply!)),
    [[2], [2]],
  );
  rig.subsystem.detachHost(2, A);
  assert.deepEqual([active(a), active(b)], [[1], [1, 2]]);
  assert.deepEqual(
    [a, b].map(({ controller }) => [...controller.changedNamespaces]),
    [[2], []],
  );
  rig.subsystem.setVisibility(2, null);
  assert.deepEqual(
    [active(a), active(b)],
    [
      [1, 2],
      [1, 2],
    ],
  );
  assert.deepEqual([...b.controller.changedNamespaces], [], 'b saw it all the time');
});

test('a snapshot carries the hosts of a namespace, when it has any', () => {
  const { rig } = hosts();
  const [one, two] = rig.subsystem.snapshot(1).namespaces;
  assert.deepEqual([one!.hosts, two!.hosts], [undefined, [A]]);
});

test('lists of hosts that cannot be', () => {
  const { rig } = hosts();
  const { subsystem } = rig;
  fails('EINVAL', () => subsystem.attachHost(1, A), /all hosts see namespace 1/);
  fails('EINVAL', () => subsystem.detachHost(1, A), /all hosts see namespace 1/);
  fails('ENOENT', () => subsystem.detachHost(2, B), /does not see/);
  fails('ENOENT', () => subsystem.attachHost(9, B), /no namespace 9/);
  fails('EINVAL', () => subsystem.attachHost(2, 'a b'), /host NQN/);
  const many = Array.from({ length: 257 }, (_, i) => `h${i}`);
  fails('EINVAL', () => subsystem.setVisibility(2, many), /at most 256 hosts/);
  assert.deepEqual([...subsystem.namespace(2)!.hosts!], [A], 'nothing was taken over');
});

test('a namespace that is disabled is allocated, not active, and comes back as it was', () => {
  const { rig, a } = hosts();
  const before = a.queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).reply!;
  const { instance } = rig.subsystem.namespace(2)!;
  rig.subsystem.setEnabled(2, false);
  assert.deepEqual([active(a), allocated(a), inAna(a)], [[1], [1, 2], [1]]);
  assert.deepEqual(parseNamespaceList(a.queue.identify(Cns.CsAllocatedNamespaceList).reply!), [1, 2]);
  assert.ok(a.queue.identify(Cns.AllocatedNamespace, { nsid: 2 }).reply!.some((byte) => byte !== 0));
  assert.deepEqual(
    rig.subsystem.snapshot(1).namespaces.map(({ nsid }) => nsid),
    [1],
  );
  rig.subsystem.resizeNamespace(2, 16);
  assert.deepEqual([...a.controller.changedNamespaces], [2]);
  rig.subsystem.setEnabled(2, true);
  assert.deepEqual(a.queue.identify(Cns.NamespaceDescriptorList, { nsid: 2 }).reply!, before);
  assert.equal(rig.subsystem.namespace(2)!.instance, instance);
  fails('ENOENT', () => rig.subsystem.setEnabled(9, true), /no namespace 9/);
});

test('controllers of the subsystem, and those that see a namespace', () => {
  const { rig, a, b } = hosts();
  const list = (cns: number, nsid: number, cntid = 0): number[] =>
    parseControllerList(a.queue.identify(cns, { nsid, cntid }).reply!);
  const [ca, cb] = [a.controller.cntlid, b.controller.cntlid];
  assert.deepEqual(list(Cns.ControllerList, 0), [ca, cb]);
  assert.deepEqual(list(Cns.ControllerList, 0, cb), [cb]);
  assert.deepEqual(list(Cns.ControllerList, 0, cb + 1), []);
  assert.deepEqual(list(Cns.AttachedControllerList, 1), [ca, cb]);
  assert.deepEqual(list(Cns.AttachedControllerList, 2), [ca]);
  assert.deepEqual(list(Cns.AttachedControllerList, 9), []);
  assert.equal(a.queue.identify(Cns.AttachedControllerList, { nsid: 0xffffffff }).status, 0x0b | DNR);
  b.queue.disconnect();
  assert.deepEqual(list(Cns.ControllerList, 0), [ca]);
  assert.ok(rig.subsystem instanceof Subsystem);
});

test('two targets that serve one subsystem tell hosts the same, and share no controller identifier', () => {
  const make = (cntlidMin: number, cntlidMax: number): Host => {
    const rig = new Rig();
    rig.target.removeSubsystem(NQN);
    const subsystem = rig.target.addSubsystem({ nqn: NQN, cntlidMin, cntlidMax });
    subsystem.addNamespace({ ...DISK, nsid: 7 });
    rig.target.link(1, NQN);
    return rig.ready();
  };
  const [one, two] = [make(1, 100), make(101, 200)];
  assert.deepEqual([one.controller.cntlid, two.controller.cntlid], [1, 101]);
  for (const cns of [Cns.Namespace, Cns.NamespaceDescriptorList, Cns.IndependentNamespace]) {
    assert.deepEqual(one.queue.identify(cns, { nsid: 7 }).reply, two.queue.identify(cns, { nsid: 7 }).reply);
  }
  const head = ({ queue }: Host): Uint8Array => queue.identify(Cns.Controller).reply!.slice(0, 78);
  assert.deepEqual(head(one), head(two), 'serial, model, firmware, CMIC');
});
