import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AccessState, LATENCY_STALE_MS, Outcome } from '../src/index.ts';
import { Fixture, type TestPath } from './support/fixture.ts';

/** Runs one request on a path that takes `ms`. */
function one(f: Fixture, ms: number, outcome: Outcome = Outcome.Ok): string {
  const [bio] = f.submit();
  const { name } = bio!.path!;
  f.clock.advance(ms);
  f.head.endBio(bio!, outcome);
  return name;
}

function known(f: Fixture, path: TestPath, latencyMs: number): void {
  path.latencyMs = latencyMs;
  path.sampledMs = f.clock.nowMs();
  f.head.measuredMs = f.clock.nowMs();
}

describe('service-time', () => {
  test('takes the path that answers sooner', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [slow, fast] = [f.path('slow'), f.path('fast')];
    known(f, slow, 4);
    known(f, fast, 1);
    assert.deepEqual(f.select(2), ['fast', 'fast']);
  });

  test('until so much is under way there that the other one would be done first', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [slow, fast] = [f.path('slow'), f.path('fast')];
    known(f, slow, 4);
    known(f, fast, 1);
    f.submit(6);
    // 4 KiB each: fast costs 1, 2, 3, 4 (the first of equals is slow), 4, 5; slow costs 4, then 8.
    assert.deepEqual(f.takeSent(), ['fast', 'fast', 'fast', 'slow', 'fast', 'fast']);
    assert.deepEqual([slow.inflightBytes, fast.inflightBytes], [4096, 5 * 4096]);
  });

  test('the size of the request counts, from 4 KiB on', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [a, b] = [f.path('a'), f.path('b')];
    known(f, a, 1);
    known(f, b, 1.5);
    a.inflightBytes = 4096;
    assert.equal(f.head.findPath(0, 0)?.name, 'b');
    assert.equal(f.head.findPath(0, 4096)?.name, 'b');
    assert.equal(f.head.findPath(0, 65_536)?.name, 'a');
  });

  test('states come before times', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [other, quick, good] = [
      f.path('other', AccessState.Other),
      f.path('quick', AccessState.NonOptimized),
      f.path('good'),
    ];
    known(f, other, 0.01);
    known(f, quick, 0.1);
    known(f, good, 50);
    assert.deepEqual(f.select(1), ['good']);
    good.disabled = true;
    const second = f.path('second', AccessState.NonOptimized);
    known(f, second, 0.05);
    assert.deepEqual(f.select(1), ['second']);
    second.disabled = true;
    assert.deepEqual(f.select(1), ['quick']);
    quick.disabled = true;
    assert.deepEqual(f.select(1), ['none']);
  });

  test('measures as a moving average, of successes only', () => {
    const f = new Fixture({ policy: 'service-time' });
    const path = f.path('a');
    assert.equal(path.latencyMs, Number.POSITIVE_INFINITY);
    one(f, 8);
    assert.equal(path.latencyMs, 8);
    assert.equal(f.head.latencyMs, 1 + 7 / 8);
    assert.equal(path.sampledMs, f.clock.nowMs());
    one(f, 16);
    assert.equal(path.latencyMs, 9);
    one(f, 0, Outcome.Final);
    assert.equal(path.latencyMs, 9, 'an error that comes at once is no fast answer');
    assert.equal(path.inflightBytes, 0);
    f.clock.advance(1);
    one(f, 0);
    assert.equal(path.latencyMs, 9 + (0.001 - 9) / 8, 'no answer takes no time');
  });

  test('a retry is measured from its own start, and its bytes stay under way', () => {
    const f = new Fixture({ policy: 'service-time' });
    const path = f.path('a');
    const [bio] = f.submit();
    f.clock.advance(100);
    f.head.endBio(bio!, Outcome.Retryable);
    assert.equal(path.inflightBytes, 4096);
    f.clock.advance(3);
    f.head.endBio(bio!, Outcome.Ok);
    assert.equal(path.latencyMs, 3);
    assert.equal(path.inflightBytes, 0);
  });

  test('a path about which nothing is known is as good as the usual one', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [slow, fresh] = [f.path('slow'), f.path('fresh')];
    f.head.latencyMs = 2;
    known(f, slow, 3);
    assert.deepEqual(f.select(1), ['fresh']);
    known(f, slow, 1);
    assert.deepEqual(f.select(1), ['slow']);
    assert.equal(fresh.latencyMs, Number.POSITIVE_INFINITY);
  });

  test('a slow path is tried again when its measurement is old', () => {
    const f = new Fixture({ policy: 'service-time' });
    const [was, now] = [f.path('was slow'), f.path('now')];
    known(f, was, 50);
    f.head.latencyMs = 1;
    f.clock.advance(LATENCY_STALE_MS);
    known(f, now, 1.5);
    assert.deepEqual(f.select(1), ['now']);
    f.clock.advance(1);
    known(f, now, 1.5);
    assert.deepEqual(f.select(1), ['was slow']);
    known(f, now, 0.5);
    assert.deepEqual(f.select(1), ['now'], 'but not before a better one');
  });

  test('shares the load by speed: a path four times as fast gets about four times as much', () => {
    const f = new Fixture({ policy: 'service-time' });
    const speed: Record<string, number> = { fast: 1, slow: 4 };
    f.path('fast');
    f.path('slow');
    const done: Record<string, number> = { fast: 0, slow: 0 };
    const flying: { name: string; at: number; bio: ReturnType<Fixture['bio']> }[] = [];
    const busy: Record<string, number> = { fast: 0, slow: 0 };
    for (let i = 0; i < 4000; i++) {
      const [bio] = f.submit();
      const { name } = bio!.path!;
      busy[name] = Math.max(busy[name]!, f.clock.nowMs()) + speed[name]!;
      flying.push({ name, at: busy[name]!, bio: bio! });
      while (flying.length >= 10) {
        flying.sort((a, b) => a.at - b.at);
        const next = flying.shift()!;
        f.clock.advance(Math.max(0, next.at - f.clock.nowMs()));
        f.head.endBio(next.bio, Outcome.Ok);
        done[next.name]!++;
      }
    }
    const ratio = done.fast! / done.slow!;
    assert.ok(ratio > 3 && ratio < 6, `${done.fast} : ${done.slow}`);
  });

  test('other policies measure nothing, and what began unmeasured ends so', () => {
    const f = new Fixture({ policy: 'numa' });
    const path = f.path('a');
    one(f, 5);
    assert.equal(path.latencyMs, Number.POSITIVE_INFINITY);
    const [before] = f.submit();
    f.iopolicy.store('service-time');
    f.head.endBio(before!, Outcome.Ok);
    assert.deepEqual([path.latencyMs, path.inflightBytes], [Number.POSITIVE_INFINITY, 0]);
    const [during] = f.submit();
    f.iopolicy.store('numa');
    f.clock.advance(2);
    f.head.endBio(during!, Outcome.Ok);
    assert.deepEqual([path.latencyMs, path.inflightBytes], [2, 0]);
  });
});
