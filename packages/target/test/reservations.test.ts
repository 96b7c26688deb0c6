import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ChangePtpl,
  Cns,
  Ctratt,
  DNR,
  Fid,
  IdentifyController,
  IdentifyNamespace,
  IdentifyNamespaceIndependent,
  Lid,
  Oncs,
  parseReservationStatus,
  ReservationNotification,
  ReservationNotificationLog,
  type ReservationStatus,
  Status,
} from '@nvbraid/wire';
import {
  type Controller,
  type ForwardedCommand,
  MAX_RESERVATION_NOTIFICATIONS,
  type Namespace,
  NO_RESERVATIONS,
  ReservationLog,
  type ReservationState,
  runForwarded,
} from '../src/index.ts';
import { type FakeQueue, Rig } from './fake-queue.ts';

const INVALID = Status.InvalidField | DNR;
const CONFLICT = Status.ReservationConflict | DNR;
const RESERVATION_EVENT = 0x800006;

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

interface Answer {
  status: number | null;
  data: Uint8Array | null;
}

/** A rig whose namespace can keep its reservations; the hooks are answered by the test, or at once. */
class ReservationRig extends Rig {
  hold = false;
  readonly saves: { state: ReservationState; done: (saved: boolean) => void }[] = [];
  readonly drains: (() => void)[] = [];
  readonly namespace: Namespace;
  saveWorks = true;

  constructor() {
    super();
    this.hooks.saveReservations = (_namespace, state, done) => {
      this.log.push(`save ptpl=${state.ptpl} rtype=${state.rtype} keys=${[...state.registrants.values()]}`);
      if (this.hold) this.saves.push({ state, done });
      else done(this.saveWorks);
    };
    this.hooks.drain = (namespace, done) => {
      this.log.push(`drain ${namespace.nsid}`);
      if (this.hold) this.drains.push(done);
      else done();
    };
    this.namespace = this.subsystem.addNamespace({
      nsid: 2,
      device: 'device 2',
      blockSize: 4096,
      blockCount: 10,
      reservations: { place: 'disk.img.nvbraid/reservations' },
    });
    this.log.length = 0;
  }

  /** An enabled controller of the host with this digit. */
  host(digit: string): { queue: FakeQueue; controller: Controller } {
    const hostid = digit.repeat(8) + '-0000-0000-0000-000000000001';
    return this.ready({ data: { hostid, hostnqn: `nqn.2024-01.example.com:host${digit}` } });
  }

  run(controller: Controller, command: ForwardedCommand, nsid = 2): Answer {
    const answer: Answer = { status: null, data: null };
    const { instance } = this.subsystem.namespace(nsid)!;
    runForwarded(controller, nsid, instance, command, (status, data) => {
      assert.equal(answer.status, null, 'answered twice');
      answer.status = status;
      answer.data = data;
    });
    return answer;
  }

  register(controller: Controller, nrkey: bigint, cptpl = 0): Answer {
    return this.run(controller, { kind: 'register', rrega: 0, iekey: 0, cptpl, crkey: 0n, nrkey });
  }

  acquire(controller: Controller, crkey: bigint, rtype: number, racqa = 0, prkey = 0n): Answer {
    return this.run(controller, { kind: 'acquire', racqa, iekey: 0, rtype, crkey, prkey });
  }

  release(controller: Controller, crkey: bigint, rtype: number, rrela = 0): Answer {
    return this.run(controller, { kind: 'release', rrela, iekey: 0, rtype, crkey });
  }

  report(controller: Controller): ReservationStatus {
    const parsed = parseReservationStatus(this.run(controller, { kind: 'report', bytes: 4096 }).data!, true);
    assert.ok(parsed.ok);
    return parsed.value;
  }
}

function notification(queue: FakeQueue, rae = 0): ReservationNotificationLog {
  return ReservationNotificationLog.parse(viewOf(queue.getLog(Lid.Reservation, 64, { rae }).reply!));
}

describe('reservation commands in the control plane', () => {
  test('the snapshot, then the drain, then the notices, then the answer', () => {
    const rig = new ReservationRig();
    const a = rig.host('a');
    const b = rig.host('b');
    assert.equal(rig.register(a.controller, 1n).status, 0);
    assert.equal(rig.register(b.controller, 2n).status, 0);
    assert.equal(rig.acquire(a.controller, 1n, 1).status, 0);
    assert.equal(rig.subsystem.snapshot(1).namespaces[1]!.reservation!.holder, a.controller.hostid);
    assert.equal(rig.subsystem.snapshot(1).namespaces[0]!.reservation, undefined);
    rig.hold = true;
    rig.log.length = 0;
    const { version } = rig.subsystem;
    const event = a.queue.asyncEventRequest();
    const preempt = rig.acquire(b.controller, 2n, 1, 1, 1n);
    assert.deepEqual(rig.log, [`namespacesChanged ${version + 1}`, 'drain 2']);
    assert.equal(rig.subsystem.snapshot(1).namespaces[1]!.reservation!.holder, b.controller.hostid);
    assert.deepEqual([preempt.status, event.status], [null, null], 'commands of the old holder may still be executing');
    rig.drains.shift()!();
    assert.deepEqual([preempt.status, event.status, event.dw0], [0, 0, RESERVATION_EVENT]);
  });

  test('what changes nothing publishes nothing', () => {
    const rig = new ReservationRig();
    const { controller } = rig.host('a');
    assert.equal(rig.register(controller, 1n).status, 0);
    assert.equal(rig.acquire(controller, 1n, 1).status, 0);
    rig.log.length = 0;
    assert.equal(rig.acquire(controller, 1n, 1).status, 0);
    assert.equal(rig.acquire(controller, 9n, 1).status, CONFLICT);
    assert.equal(rig.run(controller, { kind: 'report', bytes: 64 }).status, 0);
    assert.deepEqual(rig.log, []);
  });

  test('commands run one after the other, each on what the one before has left', () => {
    const rig = new ReservationRig();
    const a = rig.host('a').controller;
    const b = rig.host('b').controller;
    rig.register(a, 1n);
    rig.register(b, 2n);
    rig.hold = true;
    const first = rig.acquire(a, 1n, 1);
    const second = rig.acquire(b, 2n, 1);
    const third = rig.release(a, 1n, 1);
    const other = rig.run(b, { kind: 'register', rrega: 0, iekey: 0, cptpl: 0, crkey: 0n, nrkey: 1n }, 1);
    assert.equal(rig.drains.length, 2, 'of two namespaces at once');
    rig.drains[1]!();
    assert.deepEqual([first.status, second.status, third.status, other.status], [null, null, null, 0]);
    rig.drains[0]!();
    assert.deepEqual([first.status, second.status, third.status], [0, CONFLICT, null]);
    rig.drains[2]!();
    assert.equal(third.status, 0);
  });

  test('a long line of commands that end at once is no deep stack', () => {
    const rig = new ReservationRig();
    const { controller } = rig.host('a');
    rig.hold = true;
    rig.register(controller, 1n);
    const answers = Array.from({ length: 50_000 }, () => rig.acquire(controller, 9n, 1));
    rig.drains[0]!();
    assert.ok(answers.every(({ status }) => status === CONFLICT));
  });

  test('with Persist Through Power Loss the state is stable before anything else happens', () => {
    const rig = new ReservationRig();
    const { controller } = rig.host('a');
    rig.hold = true;
    const register = rig.register(controller, 7n, ChangePtpl.Set);
    assert.deepEqual(rig.log.splice(0), ['controllerCreated 1', 'save ptpl=true rtype=0 keys=7']);
    assert.equal(rig.namespace.reservations!.state.registrants.size, 0);
    assert.equal(register.status, null);
    rig.saves.shift()!.done(true);
    assert.equal(rig.namespace.reservations!.state.registrants.size, 1);
    rig.drains.shift()!();
    assert.equal(register.status, 0);
    rig.hold = false;
    rig.log.length = 0;
    rig.acquire(controller, 7n, 2);
    assert.equal(rig.log[0], 'save ptpl=true rtype=2 keys=7');
    rig.log.length = 0;
    // What was kept must not come back when the host has said so.
    assert.equal(rig.register(controller, 7n, ChangePtpl.Clear).status, 0);
    assert.equal(rig.log[0], 'save ptpl=false rtype=2 keys=7');
    rig.log.length = 0;
    rig.release(controller, 7n, 2);
    assert.ok(!rig.log.some((line) => line.startsWith('save')));
  });

  test('what cannot be written does not happen', () => {
    const rig = new ReservationRig();
    const { controller, queue } = rig.host('a');
    rig.saveWorks = false;
    assert.equal(rig.register(controller, 7n, ChangePtpl.Set).status, Status.InternalError);
    assert.equal(rig.namespace.reservations!.state, NO_RESERVATIONS);
    const set = queue.setFeature(Fid.ReservationPersistence, 1, { nsid: 2 });
    assert.equal(set.status, Status.InternalError);
    assert.equal(queue.getFeature(Fid.ReservationPersistence, { nsid: 2 }).dw0, 0);
    rig.saveWorks = true;
    assert.equal(rig.register(controller, 7n, ChangePtpl.Set).status, 0);
  });

  test('a namespace that goes takes its commands with it', () => {
    const rig = new ReservationRig();
    const { controller } = rig.host('a');
    rig.hold = true;
    const saving = rig.register(controller, 7n, ChangePtpl.Set);
    const waiting = rig.register(controller, 7n);
    const { instance } = rig.namespace;
    rig.subsystem.removeNamespace(2);
    const gone = Status.InvalidNamespaceOrFormat | DNR;
    assert.equal(waiting.status, gone);
    rig.log.length = 0;
    rig.saves.shift()!.done(true);
    assert.equal(saving.status, gone);
    assert.deepEqual(rig.log, [], 'nothing is published any more');
    const late: number[] = [];
    runForwarded(controller, 2, instance, { kind: 'report', bytes: 64 }, (status) => late.push(status));
    rig.subsystem.addNamespace({ nsid: 2, device: 'new', blockSize: 4096, blockCount: 10 });
    runForwarded(controller, 2, instance, { kind: 'report', bytes: 64 }, (status) => late.push(status));
    assert.deepEqual(late, [gone, gone], 'a namespace with the same nsid is another one');
  });

  test('a controller that goes: what waits is not run, what runs is completed', () => {
    const rig = new ReservationRig();
    const a = rig.host('a');
    const b = rig.host('b');
    rig.hold = true;
    const first = rig.register(a.controller, 1n);
    const second = rig.acquire(a.controller, 1n, 1);
    const third = rig.register(b.controller, 2n);
    a.queue.disconnect();
    rig.drains.shift()!();
    assert.deepEqual([first.status, second.status], [0, Status.SqDeletionAbort]);
    rig.drains.shift()!();
    assert.equal(third.status, 0);
    assert.equal(rig.namespace.reservations!.state.rtype, 0);
    assert.equal(rig.register(a.controller, 1n).status, Status.SqDeletionAbort);
    assert.equal(rig.report(b.controller).registrants.length, 2, 'a registration outlives its controllers');
    assert.equal(rig.namespace.reservations!.pending, 0);
  });

  test('hosts register, not controllers', () => {
    const rig = new ReservationRig();
    const first = rig.host('a').controller;
    const second = rig.host('a').controller;
    rig.register(first, 1n);
    assert.equal(rig.acquire(second, 1n, 1).status, 0);
    assert.deepEqual(rig.report(first), {
      gen: 1,
      rtype: 1,
      ptpls: 0,
      regctl: 1,
      registrants: [{ cntlid: 0xffff, holder: true, rkey: 1n, hostid: first.hostid }],
    });
  });

  test('a host without an identifier cannot have reservations', () => {
    const rig = new ReservationRig();
    const { controller } = rig.ready({ data: { hostid: '' } });
    const status = Status.HostIdentifierNotInitialized | DNR;
    assert.equal(rig.register(controller, 1n).status, status);
    assert.equal(rig.acquire(controller, 1n, 1).status, status);
    assert.equal(rig.release(controller, 1n, 1).status, status);
    assert.equal(rig.report(controller).regctl, 0);
  });

  test('namespaces without reservations, or out of sight, refuse', () => {
    const rig = new ReservationRig();
    const { controller } = rig.host('a');
    rig.subsystem.addNamespace({ nsid: 3, device: 'x', blockSize: 512, blockCount: 8, reservations: false });
    assert.equal(rig.run(controller, { kind: 'report', bytes: 64 }, 3).status, Status.InvalidOpcode | DNR);
    rig.subsystem.setVisibility(2, ['nqn.2024-01.example.com:hostb']);
    assert.equal(rig.register(controller, 1n).status, Status.InvalidNamespaceOrFormat | DNR);
    rig.subsystem.setVisibility(2, null);
    rig.subsystem.setEnabled(2, false);
    assert.equal(rig.register(controller, 1n).status, Status.InvalidNamespaceOrFormat | DNR);
  });

  test('state that was kept comes back, but only to its own namespace', () => {
    const rig = new ReservationRig();
    const uuid = '01234567-89ab-cdef-0123-456789abcdef';
    const state: ReservationState = {
      ...NO_RESERVATIONS,
      ptpl: true,
      generation: 9,
      registrants: new Map([['x', 1n]]),
    };
    const options = { nsid: 3, device: 'x', blockSize: 512, blockCount: 8 };
    const reservations = { place: 'disk.img.nvbraid/reservations', restored: { state, uuid } };
    assert.throws(() => rig.subsystem.addNamespace({ ...options, reservations }), {
      code: 'EINVAL',
      message: /disk\.img\.nvbraid\/reservations keeps the reservations of the namespace with UUID 01234567-.*delete/,
    });
    assert.equal(rig.subsystem.namespace(3), undefined);
    const namespace = rig.subsystem.addNamespace({ ...options, uuid: uuid.toUpperCase(), reservations });
    assert.equal(namespace.reservations!.state, state);
  });
});

describe('reservation notifications', () => {
  test('only the controllers of the hosts that are meant are told', () => {
    const rig = new ReservationRig();
    const [a1, a2, b, c] = [rig.host('a'), rig.host('a'), rig.host('b'), rig.host('c')] as const;
    const d = rig.host('d');
    rig.register(a1.controller, 1n);
    rig.register(b.controller, 2n);
    rig.register(c.controller, 3n);
    rig.acquire(a1.controller, 1n, 3);
    const told = (): string[] =>
      Object.entries({ a1, a2, b, c, d }).flatMap(([name, { queue }]) => {
        const { rnlpt, nsid } = notification(queue);
        return rnlpt === 0 ? [] : [`${name} ${rnlpt} ${nsid}`];
      });
    rig.acquire(b.controller, 2n, 3, 1, 1n);
    assert.deepEqual(told(), ['a1 1 2', 'a2 1 2'], 'registration preempted');
    rig.release(b.controller, 2n, 3);
    assert.deepEqual(told(), ['c 2 2'], 'reservation released');
    rig.release(c.controller, 3n, 0, 1);
    assert.deepEqual(told(), ['b 3 2'], 'reservation preempted');
    assert.deepEqual(told(), []);
  });

  test('the event comes while there is something to read, and again after each page but the last', () => {
    const rig = new ReservationRig();
    const { queue, controller } = rig.host('a');
    const { namespace } = rig;
    const first = queue.asyncEventRequest();
    for (let i = 0; i < 3; i++) controller.reservationNotice(namespace, ReservationNotification.ReservationReleased);
    assert.deepEqual([first.status, first.dw0], [0, RESERVATION_EVENT]);
    const second = queue.asyncEventRequest();
    const third = queue.asyncEventRequest();
    assert.equal(second.status, null, 'masked until the page is read');
    assert.deepEqual(notification(queue, 1), { lpc: 1n, rnlpt: 2, nalp: 2, nsid: 2 });
    assert.equal(second.status, null, 'a page that is retained is still there');
    assert.deepEqual(notification(queue), { lpc: 1n, rnlpt: 2, nalp: 2, nsid: 2 });
    assert.deepEqual([second.status, second.dw0], [0, RESERVATION_EVENT]);
    assert.equal(notification(queue).lpc, 2n);
    assert.equal(third.dw0, RESERVATION_EVENT);
    const fourth = queue.asyncEventRequest();
    assert.deepEqual(notification(queue), { lpc: 3n, rnlpt: 2, nalp: 0, nsid: 2 });
    assert.deepEqual(notification(queue), { lpc: 0n, rnlpt: 0, nalp: 0, nsid: 0 }, 'nothing left');
    assert.equal(fourth.status, null);
  });

  test('the log is bounded, and the count tells what was lost', () => {
    const rig = new ReservationRig();
    const { queue, controller } = rig.host('a');
    for (let i = 0; i < MAX_RESERVATION_NOTIFICATIONS + 44; i++) {
      controller.reservationNotice(rig.namespace, ReservationNotification.ReservationReleased);
    }
    const { lpc, nalp } = notification(queue);
    assert.deepEqual([lpc, nalp], [45n, 255]);
    for (let i = 1; i < MAX_RESERVATION_NOTIFICATIONS; i++) assert.equal(notification(queue).lpc, 45n + BigInt(i));
    assert.equal(notification(queue).rnlpt, 0);
  });

  test('the page count wraps to 1, and starts over with a reset of the controller', () => {
    const log = new ReservationLog(0xffff_ffff_ffff_fffen);
    const namespace = { nsid: 1, instance: 1 };
    log.add(namespace, ReservationNotification.ReservationReleased);
    log.add(namespace, ReservationNotification.ReservationReleased);
    const counts = [0, 1].map(() => {
      const { lpc } = ReservationNotificationLog.parse(viewOf(log.page()));
      log.drop();
      return lpc;
    });
    assert.deepEqual(counts, [0xffff_ffff_ffff_ffffn, 1n]);
    const rig = new ReservationRig();
    const { queue, controller } = rig.host('a');
    controller.reservationNotice(rig.namespace, ReservationNotification.ReservationReleased);
    queue.setFeature(Fid.ReservationNotificationMask, 8, { nsid: 2 });
    queue.setCc(0);
    queue.setCc(0x460061);
    assert.equal(notification(queue).rnlpt, 0);
    assert.equal(queue.getFeature(Fid.ReservationNotificationMask, { nsid: 2 }).dw0, 0);
    controller.reservationNotice(rig.namespace, ReservationNotification.ReservationReleased);
    assert.equal(notification(queue).lpc, 1n);
  });

  test('masks: per namespace, or all at once, and of this controller only', () => {
    const rig = new ReservationRig();
    const { queue, controller } = rig.host('a');
    const other = rig.host('a');
    const fid = Fid.ReservationNotificationMask;
    assert.equal(queue.setFeature(fid, 1 << ReservationNotification.ReservationReleased, { nsid: 2 }).status, 0);
    assert.equal(queue.getFeature(fid, { nsid: 2 }).dw0, 4);
    assert.equal(queue.getFeature(fid, { nsid: 1 }).dw0, 0);
    assert.equal(other.queue.getFeature(fid, { nsid: 2 }).dw0, 0);
    for (const to of [controller, other.controller]) {
      to.reservationNotice(rig.namespace, ReservationNotification.ReservationReleased);
    }
    assert.equal(notification(queue).rnlpt, 0);
    assert.equal(notification(other.queue).rnlpt, 2);
    controller.reservationNotice(rig.namespace, ReservationNotification.ReservationPreempted);
    assert.deepEqual(notification(queue), { lpc: 1n, rnlpt: 3, nalp: 0, nsid: 2 }, 'what is masked is not counted');
    assert.equal(queue.setFeature(fid, 0xe, { nsid: 0xffffffff }).status, 0);
    for (const nsid of [1, 2]) assert.equal(queue.getFeature(fid, { nsid }).dw0, 0xe);
    assert.equal(queue.setFeature(fid, 1, { nsid: 2 }).status, INVALID, 'a bit that does not exist');
    assert.equal(queue.getFeature(fid, { nsid: 0xffffffff }).status, Status.InvalidNamespaceOrFormat | DNR);
    assert.equal(queue.getFeature(fid, { nsid: 2, sel: 3 }).dw0, 6, 'namespace specific, changeable');
    rig.subsystem.removeNamespace(2);
    rig.subsystem.addNamespace({ nsid: 2, device: 'new', blockSize: 4096, blockCount: 10 });
    assert.equal(queue.getFeature(fid, { nsid: 2 }).dw0, 0, 'a new namespace has no mask');
  });
});

describe('what Identify and the features tell of reservations', () => {
  test('RESCAP and ONCS', () => {
    const rig = new ReservationRig();
    const { queue } = rig.host('a');
    rig.subsystem.addNamespace({ nsid: 3, device: 'x', blockSize: 512, blockCount: 8, reservations: false });
    for (const [nsid, rescap] of [
      [1, 0xfe],
      [2, 0xff],
      [3, 0],
    ] as const) {
      const namespace = IdentifyNamespace.parse(viewOf(queue.identify(Cns.Namespace, { nsid }).reply!));
      const independent = queue.identify(Cns.IndependentNamespace, { nsid }).reply!;
      assert.equal(namespace.rescap, rescap);
      assert.equal(IdentifyNamespaceIndependent.parse(viewOf(independent)).rescap, rescap);
    }
    const controller = (): IdentifyController =>
      IdentifyController.parse(viewOf(queue.identify(Cns.Controller).reply!));
    assert.ok((controller().oncs & Oncs.Reservations) !== 0);
    assert.ok((controller().ctratt & Ctratt.Rhii) !== 0);
    for (const nsid of [1, 2]) rig.subsystem.removeNamespace(nsid);
    assert.equal(controller().oncs & Oncs.Reservations, 0, 'no namespace has any');
    rig.subsystem.removeNamespace(3);
    assert.ok((controller().oncs & Oncs.Reservations) !== 0, 'the next one may');
  });

  test('the persistence feature is the state that Reservation Register sets', () => {
    const rig = new ReservationRig();
    const { queue, controller } = rig.host('a');
    const fid = Fid.ReservationPersistence;
    rig.subsystem.addNamespace({ nsid: 3, device: 'x', blockSize: 512, blockCount: 8, reservations: false });
    assert.equal(queue.getFeature(fid, { nsid: 2 }).dw0, 0);
    rig.register(controller, 1n, ChangePtpl.Set);
    assert.equal(queue.getFeature(fid, { nsid: 2 }).dw0, 1);
    assert.equal(rig.report(controller).ptpls, 1);
    const { generation } = rig.namespace.reservations!.state;
    assert.equal(queue.setFeature(fid, 0, { nsid: 2 }).status, 0);
    assert.equal(rig.report(controller).ptpls, 0);
    assert.equal(rig.namespace.reservations!.state.generation, generation);
    assert.equal(queue.setFeature(fid, 1, { nsid: 1 }).status, INVALID, 'there is no place to keep it');
    assert.equal(queue.setFeature(fid, 0, { nsid: 1 }).status, 0);
    assert.equal(queue.setFeature(fid, 2, { nsid: 2 }).status, INVALID);
    assert.equal(queue.setFeature(fid, 1, { nsid: 3 }).status, INVALID);
    assert.equal(queue.getFeature(fid, { nsid: 3 }).status, INVALID);
    assert.equal(queue.setFeature(fid, 1, { nsid: 0xffffffff }).status, 0);
    assert.deepEqual(
      [1, 2].map((nsid) => queue.getFeature(fid, { nsid }).dw0),
      [0, 1],
    );
    assert.equal(queue.getFeature(fid, { nsid: 2, sel: 3 }).dw0, 6, 'namespace specific, changeable');
    assert.equal(queue.setFeature(fid, 1, { nsid: 2, sv: 1 }).status, Status.FeatureIdentifierNotSaveable | DNR);
  });

  test('setting the persistence waits for what it must', () => {
    const rig = new ReservationRig();
    const { queue } = rig.host('a');
    rig.hold = true;
    const set = queue.setFeature(Fid.ReservationPersistence, 1, { nsid: 2 });
    assert.equal(set.status, null);
    rig.saves.shift()!.done(true);
    assert.equal(set.status, null);
    rig.drains.shift()!();
    assert.equal(set.status, 0);
  });
});
