import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOST_CONTROLLER_STATES, NAMESPACES_MAX, NvmeError } from '@nvbraid/host';
import {
  AbortSqe,
  AnaState,
  anaLog,
  CapProperty,
  ConnectSqe,
  DNR,
  FabricsStatus,
  GetLogPageSqe,
  nvmeVersion,
  propertyValue,
  Status,
} from '@nvbraid/wire';
import { connectData, FakeController, type Rule, type SeenCommand } from './fake-controller.ts';
import { flush, read, type TestRequest } from './scripted-peer.ts';

/** Does `rule` for commands of this name only, at most `times` times. */
function on(name: string, rule: Rule, times = Number.POSITIVE_INFINITY): Rule {
  let left = times;
  return (command) => (command.name.startsWith(name) && left-- > 0 ? rule(command) : undefined);
}

const silence: Rule = () => 'silence';

test('the states of a controller', () => {
  assert.equal(
    HOST_CONTROLLER_STATES.describe(),
    [
      'HostController (starts in new)',
      '  start: new -> connecting',
      '  established: connecting -> live',
      '  failed: live -> resetting',
      '  reconnect: resetting -> connecting',
      '  giveUp: connecting -> dead',
      '  remove: new -> deleting, connecting -> deleting, live -> deleting, resetting -> deleting',
      '  drained: deleting -> deleting-noio',
      '  removed: deleting -> dead, deleting-noio -> dead',
    ].join('\n'),
  );
});

// ------------------------------------------------------------------ coming to life and going

test('the way to live, and the way out', () => {
  const controller = new FakeController({ nrIoQueues: 2, keepAliveMs: 4000 }).start();
  assert.deepEqual(controller.states, ['connecting', 'live']);
  assert.deepEqual(controller.told(), [
    'Connect',
    'Property Get CAP',
    'Property Get VS',
    'Property Set CC',
    'Property Get CSTS',
    'Identify 01h',
    'Set Features 07h = 10001h',
    '1: Connect',
    '2: Connect',
    'Set Features 0bh = 900h',
    'Async Event',
    'Async Event',
    'Async Event',
    'Async Event',
    'Identify 02h',
    'Identify 00h of 1',
    'Identify 03h of 1',
  ]);
  assert.equal(controller.cc, 0x460001, 'EN, entry sizes 64 and 16 bytes');
  const { host } = controller;
  assert.deepEqual([host.cntlid, host.vs, host.maxTransferBytes, host.ioQueues.length], [7, 0x20000, 131_072, 2]);
  assert.equal(host.ioQueues[0]!.inCapsuleBytes, 8192);
  assert.equal(host.namespaces.get(1)?.blockCount, 1024);
  host.remove();
  controller.drive();
  assert.deepEqual(controller.states.slice(2), ['deleting', 'deleting-noio', 'dead']);
  assert.deepEqual(controller.told().sort(), ['Property Get CSTS', 'Property Set CC', 'close 0', 'close 1', 'close 2']);
  assert.equal(controller.cc, 0x464001, 'normal shutdown');
});

test('Connect says who, how deep, how long', () => {
  const seen: SeenCommand[] = [];
  const controller = new FakeController({ queueSize: 64, keepAliveMs: 4000, disableSqflow: true });
  controller.rules.push(
    on('Connect', (command) => {
      seen.push(command);
      return undefined;
    }),
  );
  controller.start();
  const [admin, io] = seen.map((command) => ({ sqe: ConnectSqe.parse(command.view, 0), data: connectData(command) }));
  assert.deepEqual([admin!.sqe.qid, admin!.sqe.sqsize, admin!.sqe.kato, admin!.sqe.cattr], [0, 31, 4000, 4]);
  assert.deepEqual([io!.sqe.qid, io!.sqe.sqsize, io!.sqe.kato, io!.sqe.cattr], [1, 63, 0, 4]);
  assert.deepEqual(admin!.data, {
    hostid: '11111111-2222-4333-8444-555555555555',
    cntlid: 0xffff,
    subnqn: 'nqn.test:subsystem',
    hostnqn: 'nqn.test:host',
  });
  assert.equal(io!.data.cntlid, 7);
});

test('limits of the controller hold: MQES, MAXCMD, IOCCSZ, ICDOFF, MDTS, AERL', () => {
  const controller = new FakeController({ queueSize: 128 });
  controller.cap = (controller.cap & ~0xffffn) | 63n;
  Object.assign(controller.identify, { maxcmd: 32, icdoff: 1, mdts: 0, aerl: 0 });
  controller.start();
  const queue = controller.host.ioQueues[0]!;
  assert.deepEqual([queue.queueSize, queue.inCapsuleBytes, controller.host.maxTransferBytes], [32, 0, 1 << 20]);
  assert.equal(controller.waitingEvents.length, 1);
});

test('CC.CSS follows CAP.CSS', () => {
  for (const [css, expected] of [
    [0x01, 0],
    [0x41, 6],
    [0x40, 6],
    [0x80, 7],
  ] as const) {
    const controller = new FakeController();
    controller.cap = propertyValue(CapProperty, { mqes: 127, to: 1, css });
    controller.start();
    assert.equal((controller.cc >> 4) & 7, expected);
  }
});

test('a refused Connect says why, by name, and is final the first time', () => {
  const stories: [number, number, RegExp][] = [
    [
      FabricsStatus.ConnectInvalidParameters | DNR,
      0x10100,
      /\(qid 0\), byte 256 of the Connect data: Connect Invalid Parameters/,
    ],
    [FabricsStatus.ConnectInvalidParameters, 44, /byte 44 of the submission queue entry/],
    [FabricsStatus.ConnectInvalidHost | DNR, 0, /Connect Invalid Host \(sct 1h, sc 84h, DNR\)/],
    [FabricsStatus.ControllerBusy, 0, /Controller Busy/],
  ];
  for (const [status, dw0, message] of stories) {
    const controller = new FakeController();
    controller.rules.push(on('Connect', () => ({ status, dw0 })));
    controller.start();
    assert.deepEqual(controller.states, ['connecting', 'dead']);
    assert.ok(controller.host.error instanceof NvmeError);
    assert.equal(controller.host.error.status, status);
    assert.match(controller.host.error.message, message);
    assert.deepEqual(controller.told(), ['Connect', 'close 0']);
  }
});

test('a refused Connect of an I/O queue ends the whole association', () => {
  const controller = new FakeController({ nrIoQueues: 3 });
  controller.rules.push(({ qid, name }) =>
    qid === 2 && name === 'Connect' ? { status: Status.InvalidQueueIdentifier } : undefined,
  );
  controller.start();
  assert.equal(controller.host.state, 'dead');
  assert.match(controller.host.error!.message, /qid 2/);
  assert.deepEqual(controller.told().slice(-3).sort(), ['close 0', 'close 1', 'close 2']);
});

test('a controller that requires authentication is refused with a reason', () => {
  const controller = new FakeController();
  controller.rules.push(on('Connect', () => ({ dw0: 0x20007 })));
  controller.start();
  assert.equal(controller.host.error?.code, 'ENOTSUP');
});

test('CSTS.RDY that takes its time, never comes, or comes with a fatal status', () => {
  let polls = 0;
  const slow = new FakeController();
  slow.rules.push(on('Property Get CSTS', () => ({ dw0: ++polls < 4 ? 0 : 1 })));
  slow.start().run(1000);
  assert.equal(slow.host.state, 'live');
  assert.equal(polls, 4);
  const never = new FakeController();
  never.rules.push(on('Property Get CSTS', () => ({ dw0: 0 })));
  never.start().run(4900);
  assert.equal(never.host.state, 'connecting');
  never.run(300);
  assert.deepEqual([never.host.state, never.host.error?.code], ['dead', 'ETIMEDOUT'], 'CAP.TO is 5 s');
  const fatal = new FakeController();
  fatal.rules.push(on('Property Get CSTS', () => ({ dw0: 2 })));
  fatal.start();
  assert.match(fatal.host.error!.message, /fatal status/);
});

test('a controller that grants no queue, or refuses to say', () => {
  for (const status of [Status.InvalidField, Status.InternalError]) {
    const controller = new FakeController();
    controller.rules.push(on('Set Features 07h', () => ({ status })));
    controller.start();
    assert.match(controller.host.error!.message, /no I\/O queue/);
  }
});

test('an admin command without an answer on the way to live', () => {
  for (const name of ['Connect', 'Property Get CAP', 'Identify 01h', 'Identify 02h']) {
    const controller = new FakeController({ adminTimeoutMs: 2000 });
    controller.rules.push(on(name, silence));
    controller.start().run(1900);
    assert.equal(controller.host.state, 'connecting', name);
    controller.run(200);
    assert.deepEqual([controller.host.state, controller.host.error?.code], ['dead', 'ETIMEDOUT'], name);
  }
});

test('the shutdown that is never complete ends after its time', () => {
  const controller = new FakeController().start();
  controller.rules.push(on('Property Get CSTS', () => ({ dw0: 1 })));
  controller.host.remove();
  controller.run(4500);
  assert.equal(controller.host.state, 'deleting-noio');
  controller.run(1000);
  assert.equal(controller.host.state, 'dead');
});

test('a controller that answers nothing while it is shut down is left alone', () => {
  const controller = new FakeController().start();
  controller.rules.push(on('Property Get CSTS', silence));
  controller.host.remove();
  controller.run(4900);
  assert.equal(controller.host.state, 'deleting-noio');
  controller.run(5200);
  assert.equal(controller.host.state, 'dead');
});

test('removal in every state: at once, and without a word afterwards', () => {
  const fresh = new FakeController();
  fresh.host.remove();
  assert.equal(fresh.host.state, 'dead');
  const connecting = new FakeController();
  connecting.rules.push(on('Identify 01h', silence));
  connecting.start().host.remove();
  assert.equal(connecting.drive().host.state, 'dead');
  const waiting = new FakeController().start();
  waiting.down = true;
  waiting.drop();
  waiting.run(1000);
  assert.equal(waiting.host.state, 'connecting');
  waiting.host.remove();
  waiting.down = false;
  waiting.told();
  assert.deepEqual(waiting.run(30_000).told(), []);
  assert.deepEqual(waiting.states.slice(-3), ['deleting', 'deleting-noio', 'dead']);
});

// ------------------------------------------------------------------ discovery

test('a discovery controller: no I/O queues, no namespaces, only its own events', () => {
  const controller = new FakeController();
  Object.assign(controller.identify, { cntrltype: 2, oaes: 0x8000_0000, aerl: 0 });
  controller.start();
  assert.deepEqual(controller.told().slice(5), ['Identify 01h', 'Set Features 0bh = 80000000h', 'Async Event']);
  assert.equal(controller.host.isDiscovery, true);
  controller.event(2, 0xf0, 0x70);
  assert.deepEqual([controller.events[0]?.info, controller.events[0]?.lid], [0xf0, 0x70]);
});

// ------------------------------------------------------------------ namespaces

test('namespaces: a long list, one that is gone, one that cannot be used', () => {
  const controller = new FakeController();
  controller.namespaces.clear();
  for (let nsid = 1; nsid <= NAMESPACES_MAX + 200; nsid++) controller.namespaces.set(nsid, 8);
  controller.rules.push(
    on('Identify 00h of 5', ({ name }) =>
      name.endsWith(' 5') ? { status: Status.InvalidNamespaceOrFormat } : undefined,
    ),
  );
  controller.namespaces.set(6, 0);
  controller.start();
  assert.equal(controller.host.state, 'live');
  assert.equal(controller.host.namespaces.size, NAMESPACES_MAX - 2);
  assert.equal(controller.host.namespaces.has(5), false);
  assert.equal(controller.host.namespaces.has(6), false);
});

test('a namespace list that is not ascending ends the attempt', () => {
  const list = new Uint8Array(4096);
  list[0] = 2;
  list[4] = 1;
  const controller = new FakeController();
  controller.rules.push(on('Identify 02h', () => ({ data: list })));
  controller.start();
  assert.match(controller.host.error!.message, /not ascending/);
});

test('controllers before 1.3 have no descriptors', () => {
  const controller = new FakeController();
  controller.vs = nvmeVersion(1, 2, 1);
  controller.start();
  assert.equal(controller.host.state, 'live');
  assert.ok(!controller.told().some((line) => line.startsWith('Identify 03h')));
});

test('namespace event: read the list of changes, then look again; several events make one more look', () => {
  const controller = new FakeController().start();
  controller.told();
  controller.namespaces.set(2, 4096);
  controller.event(2, 0, 4);
  const told = controller.told();
  assert.deepEqual(told.slice(0, 3), ['Async Event', 'Get Log Page 04h', 'Identify 02h']);
  assert.equal(controller.host.namespaces.get(2)?.blockCount, 4096);
  assert.deepEqual(controller.scans, [[1], [2]]);
  assert.equal(controller.waitingEvents.length, 4, 'as many requests as before');
});

test('events that are not about namespaces are passed on', () => {
  const controller = new FakeController().start();
  controller.told();
  controller.event(2, 1, 0x03);
  assert.deepEqual(controller.told(), ['Async Event']);
  assert.deepEqual(controller.events, [{ type: 2, info: 1, lid: 0x03, dw0: 0x030102 }]);
});

test('ANA: the log is read before the controller is live and after each event, whole, and so that events go on', () => {
  const controller = new FakeController();
  Object.assign(controller.identify, { cmic: 8, anagrpmax: 4, nanagrpid: 4, mnan: 8 });
  let state: AnaState = AnaState.Optimized;
  const bytes = 16 + 4 * 32 + 4 * 8;
  const rule = on('Get Log Page 0ch', ({ view }) => {
    const { numd, rae, lsp } = GetLogPageSqe.parse(view, 0);
    assert.deepEqual([numd + 1, rae, lsp], [bytes / 4, 0, 0]);
    const page = new Uint8Array(bytes);
    page.set(anaLog({ chgcnt: 1, groups: [{ grpid: 1, chgcnt: 1, state, nsids: [1] }] }));
    return { data: page };
  });
  controller.rules.push(rule);
  controller.start();
  assert.equal(controller.host.anaLog?.groups[0]?.state, AnaState.Optimized);
  controller.told();
  for (const next of [AnaState.Inaccessible, AnaState.NonOptimized]) {
    state = next;
    controller.event(2, 3, 0x0c);
    assert.deepEqual(controller.told(), ['Async Event', 'Get Log Page 0ch']);
    assert.equal(controller.host.anaLog?.groups[0]?.state, next);
  }
  assert.equal(controller.anaLogs.length, 3);
  // Both changed at once: both are looked at.
  controller.namespaces.set(2, 64);
  controller.event(2, 3, 0x0c).event(2, 0, 4);
  assert.deepEqual([controller.anaLogs.length, controller.scans], [4, [[1], [2]]]);
  // Nonsense, and a refusal: nothing is known, nothing else suffers.
  for (const reply of [{ data: new Uint8Array(bytes).fill(255) }, { status: Status.InvalidLogPage | DNR }]) {
    controller.rules.splice(
      0,
      1,
      on('Get Log Page 0ch', () => reply),
    );
    controller.event(2, 3, 0x0c);
    assert.equal(controller.anaLogs.length, 4);
    controller.run(10_000).drop().run(50);
    assert.deepEqual([controller.host.state, controller.host.anaLog], ['live', null]);
  }
});

test('an event request that is refused is not sent again', () => {
  const controller = new FakeController();
  controller.rules.push(on('Async Event', () => ({ status: Status.AsyncEventRequestLimitExceeded }), 2));
  controller.start();
  assert.equal(controller.host.state, 'live');
  assert.equal(controller.waitingEvents.length, 2);
});

// ------------------------------------------------------------------ keep alive

test('Keep Alive goes out every half of kato', () => {
  const controller = new FakeController({ keepAliveMs: 4000 }).start();
  controller.told();
  controller.run(20_100);
  assert.deepEqual(controller.told(), new Array(10).fill('Keep Alive'));
});

test('traffic based Keep Alive: left out while commands are completed', () => {
  const controller = new FakeController({ keepAliveMs: 4000 });
  controller.identify.ctratt = 0x40;
  controller.start();
  controller.told();
  for (let i = 0; i < 20; i++) {
    controller.host.submitIo(flush());
    controller.run(1000);
  }
  assert.ok(!controller.told().includes('Keep Alive'));
  controller.run(8100);
  const alive = controller.told().filter((line) => line === 'Keep Alive').length;
  assert.ok(alive >= 3, `${alive} in 8 s of silence`);
});

test('a controller without Keep Alive support is left in peace', () => {
  const controller = new FakeController({ keepAliveMs: 4000 });
  controller.identify.kas = 0;
  controller.start();
  controller.told();
  assert.deepEqual(controller.run(10_000).told(), []);
});

for (const [what, rule, beforeMs] of [
  ['silence', silence, 6000],
  ['an error', () => ({ status: Status.InternalError }), 2000],
] as [string, Rule, number][]) {
  test(`Keep Alive answered by ${what}: the controller is reset`, () => {
    const controller = new FakeController({ keepAliveMs: 4000, reconnectDelayMs: 1000 }).start();
    controller.rules.push(on('Keep Alive', rule, 1));
    controller.run(beforeMs - 100);
    assert.equal(controller.host.resets, 0);
    controller.run(200);
    assert.equal(controller.host.resets, 1);
    controller.run(2000);
    assert.equal(controller.host.state, 'live');
  });
}

// ------------------------------------------------------------------ aborts and resets

/** The commands of `requests` that the controller leaves unanswered. */
function stuck(controller: FakeController, count: number): TestRequest[] {
  controller.rules.push(({ qid, name }) => (qid > 0 && name !== 'Connect' ? 'silence' : undefined));
  const requests = Array.from({ length: count }, () => read(512));
  for (const request of requests) controller.host.submitIo(request);
  controller.drive();
  return requests;
}

test('I/O timeout: Abort names the command; the controller aborts it; nothing else happens', () => {
  const aborted: SeenCommand[] = [];
  const controller = new FakeController({ ioTimeoutMs: 3000 }).start();
  const [request] = stuck(controller, 1);
  controller.rules.push(
    on('Abort', (command) => {
      aborted.push(command);
      return undefined;
    }),
  );
  const { cid } = request!;
  controller.run(3100);
  assert.equal(aborted.length, 1);
  assert.deepEqual(AbortSqe.sqid.get(aborted[0]!.view, 0), 1);
  assert.deepEqual(AbortSqe.abortCid.get(aborted[0]!.view, 0), cid);
  assert.equal(controller.host.resets, 0);
  controller.run(3000);
  assert.equal(controller.host.resets, 1, 'it stayed under way for as long again');
  assert.deepEqual([request!.ends, request!.status], [1, Status.HostPathingError]);
});

test('aborts: never more at a time than ACL allows, and none for commands that have ended', () => {
  const controller = new FakeController();
  controller.identify.acl = 1;
  controller.start();
  const requests = stuck(controller, 6);
  const aborts: SeenCommand[] = [];
  controller.rules.unshift(
    on('Abort', (command) => {
      aborts.push(command);
      return 'silence';
    }),
  );
  const cids = requests.map((request) => request.cid);
  for (const request of requests) controller.host.abort(request);
  controller.drive();
  assert.equal(aborts.length, 2);
  // The third command ends by itself; the answer to an Abort makes room for that of the fourth.
  controller.complete(1, cids[2]!, { status: Status.AbortRequested });
  controller.complete(0, aborts[0]!.cid, {});
  controller.drive();
  assert.deepEqual(
    aborts.map((abort) => AbortSqe.abortCid.get(abort.view, 0)),
    [cids[0], cids[1], cids[3]],
  );
  assert.ok(requests.every((request) => request.ends === 1 && request.status === Status.CommandAbortedByHost));
});

test('an Abort that is not answered resets the controller', () => {
  const controller = new FakeController({ ioTimeoutMs: 1000, adminTimeoutMs: 1500 }).start();
  stuck(controller, 1);
  controller.rules.unshift(on('Abort', silence));
  controller.run(1900);
  assert.equal(controller.host.resets, 0);
  controller.run(800);
  assert.equal(controller.host.resets, 1);
});

test('reset: I/O ends before the new association begins, later I/O uses the new one', () => {
  const controller = new FakeController({ reconnectDelayMs: 500 }).start().run(1000);
  const [request] = stuck(controller, 1);
  controller.told();
  controller.drop();
  assert.equal(request!.ends, 1);
  assert.deepEqual(controller.told(), []);
  controller.rules.length = 0;
  controller.run(50);
  assert.equal(controller.told()[0], 'Connect');
  assert.equal(controller.host.state, 'live');
  const next = flush();
  controller.host.submitIo(next);
  controller.drive();
  assert.deepEqual([next.ends, next.status], [1, 0]);
});

test('connecting again: the namespaces are looked at before the controller is live', () => {
  const controller = new FakeController({ reconnectDelayMs: 500 }).start().run(1000);
  controller.namespaces.delete(1);
  controller.namespaces.set(2, 64);
  const { length } = controller.states;
  const scanned: string[] = [];
  controller.scans.push = (changed) => scanned.push(`${changed}`, controller.host.state);
  controller.drop().run(50);
  assert.deepEqual(controller.states.slice(length), ['resetting', 'connecting', 'live']);
  assert.deepEqual(scanned, ['2,1', 'connecting']);
});

test('a namespace in use that the controller cannot say anything about for now', () => {
  for (const which of ['Identify 00h', 'Identify 03h']) {
    const controller = new FakeController({ reconnectDelayMs: 500 }).start().run(1000);
    // Live: everything stays as it is.
    controller.rules.push(on(which, () => ({ status: Status.NamespaceNotReady }), 1));
    controller.event(2, 0, 4);
    assert.deepEqual([controller.host.state, controller.scans], ['live', [[1]]], which);
    // While connecting again: the attempt ends, the next one is as good as any.
    controller.rules.push(on(which, () => ({ status: Status.NamespaceNotReady }), 1));
    controller.drop().run(100);
    assert.equal(controller.host.state, 'connecting', which);
    controller.run(500);
    assert.deepEqual([controller.host.state, controller.scans], ['live', [[1], []]], which);
    // For good.
    controller.rules.push(on('Identify 00h', () => ({ status: Status.InvalidNamespaceOrFormat | DNR })));
    controller.event(2, 0, 4);
    assert.deepEqual([controller.host.state, controller.scans.at(-1)], ['live', [1]], which);
  }
});

test('while connecting again: Connect errors without DNR are tried again, with DNR they are final', () => {
  const controller = new FakeController({ reconnectDelayMs: 1000 }).start().run(2000);
  controller.rules.push(on('Connect', () => ({ status: FabricsStatus.ControllerBusy }), 3));
  controller.drop().run(2500);
  assert.equal(controller.host.state, 'connecting');
  controller.run(2000);
  assert.equal(controller.host.state, 'live');
  controller.rules.push(on('Connect', () => ({ status: FabricsStatus.ConnectInvalidHost | DNR }), 1));
  controller.run(2000).drop().run(100);
  assert.equal(controller.host.state, 'dead');
});

test('ctrl-loss-tmo 0: a lost controller is dead', () => {
  const controller = new FakeController({ ctrlLossTmoMs: 0 }).start();
  controller.drop();
  assert.deepEqual(controller.states, ['connecting', 'live', 'resetting', 'connecting', 'dead']);
});

test('removed by a listener in the middle of a reset', () => {
  const controller = new FakeController().start();
  const request = read(512);
  controller.rules.push(({ qid }) => (qid > 0 ? 'silence' : undefined));
  request.done = () => {
    request.ends++;
    controller.host.remove();
  };
  controller.host.submitIo(request);
  controller.drive();
  controller.drop();
  assert.equal(request.ends, 1);
  assert.deepEqual(controller.states.slice(2), ['resetting', 'deleting', 'deleting-noio', 'dead']);
  assert.equal(controller.run(60_000).host.state, 'dead');
});

test('I/O spreads over the queues', () => {
  const controller = new FakeController({ nrIoQueues: 4 }).start();
  stuck(controller, 40);
  assert.deepEqual(
    controller.host.ioQueues.map((queue) => queue.outstanding),
    [10, 10, 10, 10],
  );
});

test('I/O and admin commands of a controller that is not live end at once', () => {
  const controller = new FakeController();
  const requests = [flush(), flush()];
  controller.host.submitIo(requests[0]!);
  controller.host.submitAdmin(requests[1]!);
  assert.ok(requests.every((request) => request.ends === 1 && request.status === Status.HostPathingError));
});
