import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StopSignal } from '../src/stop-signal.ts';

test('the first signal stops, the same again at once does not, a later one ends the process', async (t) => {
  const exit = t.mock.method(process, 'exit', () => undefined as never);
  let time = 1000;
  t.mock.method(performance, 'now', () => time);
  let said = 0;
  {
    using stop = new StopSignal(() => said++);
    assert.equal(stop.stopped, false);
    process.emit('SIGINT', 'SIGINT');
    assert.equal(stop.stopped, true);
    await stop.wait();
    time += 100;
    process.emit('SIGINT', 'SIGINT');
    assert.equal(exit.mock.callCount(), 0, 'npm passes on what the terminal has sent already');
    time += 1000;
    process.emit('SIGTERM', 'SIGTERM');
    assert.deepEqual(
      exit.mock.calls.map((call) => call.arguments),
      [[143]],
    );
    assert.equal(said, 1);
  }
  assert.equal(process.listenerCount('SIGINT'), 0);
  assert.equal(process.listenerCount('SIGTERM'), 0);
});

test('stop() is a signal without words', async () => {
  let said = 0;
  using stop = new StopSignal(() => said++);
  setImmediate(() => stop.stop());
  await stop.wait();
  assert.equal(said, 0);
});
