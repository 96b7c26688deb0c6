import { equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeTimers, TOKEN_BUCKET_WORDS, TokenBucket } from '../src/index.ts';

describe('a token bucket', () => {
  it('lets a burst through, then the rate, whatever the sizes', () => {
    const bucket = new TokenBucket();
    bucket.limit(10, 100);
    bucket.fill(0);
    let taken = 0;
    for (let now = 0; now <= 10_000; now += 0.25) {
      const cost = 1 + (taken % 37);
      if (bucket.take(cost, now) === 0) taken += cost;
    }
    ok(taken >= 100_000 && taken <= 100_000 + 100 + 37, `${taken} tokens in 10 s at 10 per ms`);
  });

  it('waits as long as the debt takes', () => {
    const bucket = new TokenBucket();
    bucket.limit(2, 5);
    bucket.fill(0);
    equal(bucket.take(25, 0), 0, 'larger than the bucket');
    const wait = bucket.waitMs(2, 0);
    equal(wait, 11, '20 of debt and two at 2 per ms');
    ok(bucket.waitMs(2, wait - 1) > 0);
    equal(bucket.waitMs(2, wait), 0);
  });

  it('is one bucket for all who share its words, and holds no more than the burst after weeks', () => {
    const words = new Int32Array(new SharedArrayBuffer(TOKEN_BUCKET_WORDS * 4));
    const [one, two] = [new TokenBucket(words), new TokenBucket(words)];
    for (const bucket of [one, two]) bucket.limit(1, 4);
    for (const start of [0, 2 ** 31 - 2, 2 ** 32 + 5, 2 ** 40]) {
      one.fill(start);
      let taken = 0;
      for (let i = 0; i < 20; i++) if ((i % 2 === 0 ? one : two).take(1, start) === 0) taken++;
      equal(taken, 4, `from ${start}`);
      equal(two.take(1, start + 1), 0);
      ok(one.take(1, start + 1) > 0);
      let later = 0;
      for (let i = 0; i < 20; i++) if (one.take(1, start + 3 * 7 * 24 * 3600 * 1000) === 0) later++;
      equal(later, 4);
    }
  });

  it('without a rate limits nothing', () => {
    const bucket = new TokenBucket();
    bucket.limit(0, 1);
    for (let i = 0; i < 10; i++) equal(bucket.take(2 ** 30, 0), 0);
  });
});

describe('fake timers', () => {
  it('fire in the order of their times, also those that are set meanwhile', () => {
    const timers = new FakeTimers();
    const fired: string[] = [];
    timers.after(20, () => fired.push(`b ${timers.nowMs()}`));
    timers.after(10, () => {
      fired.push(`a ${timers.nowMs()}`);
      timers.after(5, () => fired.push(`c ${timers.nowMs()}`));
    });
    const cancel = timers.after(12, () => fired.push('never'));
    cancel();
    timers.advance(19);
    equal(fired.join(), 'a 10,c 15');
    timers.advance(1);
    equal(fired.join(), 'a 10,c 15,b 20');
    equal(timers.pending, 0);
  });
});
