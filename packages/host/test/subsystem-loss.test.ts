import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BioStatus } from '@nvbraid/multipath';
import { DNR, FabricsStatus } from '@nvbraid/wire';
import { FakeSubsystem } from './fake-subsystem.ts';

const NEVER_MS = 30 * 24 * 3600 * 1000;

/** One controller that was live for longer than its reconnect delay, and is lost now. */
function lost(options: Parameters<FakeSubsystem['add']>[0]) {
  const subsystem = new FakeSubsystem();
  const controller = subsystem.add({ reconnectDelayMs: 2000, ...options });
  /** When it tried to connect, in ms since the loss. */
  const attempts: number[] = [];
  controller.start();
  subsystem.run(5000);
  const lostMs = subsystem.clock.nowMs();
  const connect = controller.connect.bind(controller);
  controller.connect = (queue) => {
    if (queue.qid === 0) attempts.push(subsystem.clock.nowMs() - lostMs);
    connect(queue);
  };
  controller.down = true;
  controller.drop();
  controller.host.tick(lostMs);
  subsystem.drive();
  return { subsystem, controller, attempts, head: subsystem.head() };
}

describe('row 55: a lost controller', () => {
  test('is tried at once and then each reconnect-delay, until it comes back', () => {
    const { subsystem, controller, attempts } = lost({});
    assert.deepEqual(controller.states.slice(2), ['resetting', 'connecting']);
    subsystem.run(7000, 10);
    assert.deepEqual(attempts, [0, 2000, 4000, 6000]);
    controller.down = false;
    subsystem.run(1000, 10);
    assert.deepEqual([attempts.length, controller.host.state, controller.host.reconnects], [5, 'live', 1]);
  });

  test('is given up when the next attempt would be later than ctrl-loss-tmo; its head goes', () => {
    const { subsystem, controller, attempts, head } = lost({ ctrlLossTmoMs: 7000 });
    const waiting = subsystem.read();
    subsystem.run(5950);
    assert.deepEqual([controller.host.state, waiting.ended, head.gone], ['connecting', false, false]);
    subsystem.run(100);
    assert.deepEqual(attempts, [0, 2000, 4000, 6000]);
    assert.deepEqual([controller.host.state, waiting.status, head.gone], ['dead', BioStatus.IoError, true]);
    assert.equal(controller.host.error?.code, 'ECONNREFUSED');
    subsystem.run(60_000);
    assert.equal(attempts.length, 4, 'nobody tries any more');
    assert.ok(subsystem.host.empty);
  });

  test('without ctrl-loss-tmo it is tried for ever', () => {
    const { subsystem, controller, attempts } = lost({
      ctrlLossTmoMs: Number.POSITIVE_INFINITY,
      reconnectDelayMs: 3_600_000,
    });
    subsystem.run(NEVER_MS, 3_600_000);
    assert.equal(controller.host.state, 'connecting');
    assert.ok(attempts.length > 700, `${attempts.length} attempts`);
  });

  test('is given up at once when Connect is refused with DNR, and not without', () => {
    for (const [status, state] of [
      [FabricsStatus.ConnectInvalidHost | DNR, 'dead'],
      [FabricsStatus.ControllerBusy, 'connecting'],
    ] as const) {
      const { subsystem, controller } = lost({});
      controller.rules.unshift(({ name }) => (name === 'Connect' ? { status } : undefined));
      controller.down = false;
      subsystem.run(2100);
      assert.equal(controller.host.state, state);
    }
  });
});

describe('row 55: fast-io-fail-tmo', () => {
  test('is counted from the loss, to the millisecond, whatever the attempts do; then nothing waits any more', () => {
    const { subsystem, controller, head } = lost({ fastIoFailTmoMs: 3500 });
    const waiting = subsystem.read();
    subsystem.run(3499, 1);
    assert.deepEqual([controller.host.failfastExpired, waiting.ended], [false, false]);
    subsystem.run(1, 1);
    assert.deepEqual([controller.host.failfastExpired, waiting.status], [true, BioStatus.IoError]);
    assert.equal(subsystem.log.filter((line) => line.includes('fast-io-fail-tmo')).length, 1);
    assert.equal(subsystem.read().status, BioStatus.IoError, 'what comes later fails at once');
    assert.equal(controller.host.state, 'connecting', 'and the controller is tried on');
    assert.equal(head.gone, false);
  });

  test('is forgotten when the controller is back, and begins anew with the next loss', () => {
    const { subsystem, controller } = lost({ fastIoFailTmoMs: 3500 });
    subsystem.run(4000);
    controller.down = false;
    subsystem.run(2000);
    assert.deepEqual([controller.host.state, controller.host.failfastExpired], ['live', false]);
    assert.equal(subsystem.read().status, BioStatus.Ok);
    subsystem.run(60_000);
    controller.down = true;
    controller.drop();
    const waiting = subsystem.read();
    subsystem.run(3450);
    assert.ok(!waiting.ended);
    subsystem.run(100);
    assert.equal(waiting.status, BioStatus.IoError);
  });

  test('that a controller comes back in time for means nothing', () => {
    const { subsystem, controller } = lost({ fastIoFailTmoMs: 3500 });
    const waiting = subsystem.read();
    controller.down = false;
    subsystem.run(10_000);
    assert.deepEqual([waiting.status, controller.host.failfastExpired], [BioStatus.Ok, false]);
  });

  test('without it commands wait as long as it is tried', () => {
    const { subsystem, controller } = lost({ ctrlLossTmoMs: 600_000 });
    const waiting = subsystem.read();
    subsystem.run(590_000, 500);
    assert.ok(!waiting.ended);
    controller.down = false;
    subsystem.run(3000);
    assert.equal(waiting.status, BioStatus.Ok);
  });

  test('of one controller does not fail what another may still serve', () => {
    const subsystem = new FakeSubsystem();
    const [first, second] = [subsystem.add({ fastIoFailTmoMs: 1000 }), subsystem.add({ reconnectDelayMs: 1000 })];
    for (const controller of [first, second]) controller.start();
    subsystem.run(5000);
    for (const controller of [first, second]) {
      controller.down = true;
      controller.drop();
    }
    const waiting = subsystem.read();
    subsystem.run(3000);
    assert.deepEqual([first.host.failfastExpired, waiting.ended], [true, false]);
    second.down = false;
    subsystem.run(2000);
    assert.equal(waiting.status, BioStatus.Ok);
  });
});
