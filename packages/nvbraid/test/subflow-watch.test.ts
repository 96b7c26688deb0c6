import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Subflow } from '@nvbraid/transport';
import {
  compareSubflows,
  type QueueSubflows,
  queueNumbers,
  type SubflowChange,
  SubflowWatch,
  subflowSentences,
} from 'nvbraid';

/** A subflow of link `link`: 10.1.link.2 -> 10.1.link.1. */
function subflow(link: number, more: Partial<Subflow> = {}): Subflow {
  return {
    id: link,
    local: { address: `10.1.${link}.2`, port: 40000 + link, family: 'ipv4' },
    remote: { address: `10.1.${link}.1`, port: 4420, family: 'ipv4' },
    state: 'established',
    bytesSent: 0,
    bytesReceived: 0,
    bytesRetransmitted: 0,
    retransmits: 0,
    rttUs: 100,
    backup: null,
    stale: false,
    ...more,
  };
}

function queue(qid: number, subflows: readonly Subflow[], more: Partial<QueueSubflows> = {}): QueueSubflows {
  return { qid, connection: `c${qid}`, fallback: false, count: subflows.length, subflows, ...more };
}

function say(changes: readonly SubflowChange[]): string[] {
  return changes.map(({ event, subflow: one, working }) => `${event} ${one?.id ?? '-'} ${working}`);
}

describe('two looks at a connection', () => {
  const of = (before: readonly Subflow[] | null, now: readonly Subflow[]): string[] =>
    say(compareSubflows(before === null ? undefined : queue(1, before), queue(1, now)));

  test('nothing has happened', () => {
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(2, { bytesSent: 5, rttUs: 7 }), subflow(1)]), []);
  });

  test('a subflow has come, one is gone', () => {
    assert.deepEqual(of([subflow(1)], [subflow(1), subflow(2)]), ['added 2 2']);
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(2)]), ['lost 1 1']);
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(2), subflow(3)]), ['added 3 2', 'lost 1 2']);
  });

  test('one between the same addresses by another port is another one', () => {
    const again = subflow(2, { id: 3, local: { address: '10.1.2.2', port: 50000, family: 'ipv4' } });
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(1), again]), ['added 3 2', 'lost 2 2']);
  });

  test('only what is established is there', () => {
    assert.deepEqual(of([subflow(1)], [subflow(1), subflow(2, { state: 'syn-sent' })]), []);
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(1), subflow(2, { state: 'close' })]), ['lost 2 1']);
    assert.deepEqual(of([subflow(1), subflow(2, { state: 'syn-sent' })], [subflow(1), subflow(2)]), ['added 2 2']);
  });

  test('stale and back again', () => {
    const stale = subflow(2, { stale: true });
    assert.deepEqual(of([subflow(1), subflow(2)], [subflow(1), stale]), ['stale 2 1']);
    assert.deepEqual(of([subflow(1), stale], [subflow(1), stale]), []);
    assert.deepEqual(of([subflow(1), stale], [subflow(1), subflow(2)]), ['recovered 2 2']);
    assert.deepEqual(of([subflow(1), stale], [subflow(1)]), ['lost 2 1']);
    assert.deepEqual(of([subflow(1)], [subflow(1), stale]), ['added 2 1', 'stale 2 1']);
  });

  test('of a new connection all but the first subflow count as added', () => {
    assert.deepEqual(of(null, [subflow(1)]), []);
    assert.deepEqual(of(null, [subflow(1), subflow(2), subflow(3)]), ['added 2 3', 'added 3 3']);
    assert.deepEqual(of(null, [subflow(1, { stale: true }), subflow(2)]), ['stale 1 1', 'added 2 1']);
  });

  test('a connection that comes to its end loses nothing', () => {
    const ending = [1, 2].map((link) => subflow(link, { state: 'fin-wait-1' }));
    assert.deepEqual(of([subflow(1), subflow(2)], ending), []);
    assert.deepEqual(of([subflow(1), subflow(2)], []), []);
  });

  test('fallback is told of once, and what it does to the subflows is not', () => {
    const fallen = queue(1, [subflow(1)], { fallback: true });
    assert.deepEqual(say(compareSubflows(undefined, fallen)), ['fallback - 1']);
    assert.deepEqual(say(compareSubflows(queue(1, [subflow(1), subflow(2)]), fallen)), ['fallback - 1']);
    assert.deepEqual(say(compareSubflows(fallen, fallen)), []);
    assert.deepEqual(say(compareSubflows(undefined, queue(1, [], { fallback: null, count: 0 }))), []);
  });
});

/** Timers that a test lets run out. */
class HandTimers {
  readonly pending = new Map<number, { ms: number; call: () => void }>();
  #next = 1;

  set(ms: number, call: () => void): number {
    this.pending.set(this.#next, { ms, call });
    return this.#next++;
  }

  clear(timer: unknown): void {
    this.pending.delete(timer as number);
  }

  /** All that are set now run out. */
  async fire(): Promise<void> {
    for (const [id, { call }] of [...this.pending]) {
      this.pending.delete(id);
      call();
    }
    await settled();
  }
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('SubflowWatch', () => {
  function watched() {
    const timers = new HandTimers();
    const now: { queues: QueueSubflows[] } = { queues: [queue(0, [subflow(1)])] };
    let looks = 0;
    const watch = new SubflowWatch(async () => {
      looks++;
      return now.queues;
    }, timers);
    return { timers, now, watch, looks: () => looks };
  }

  test('looks only while somebody listens', async () => {
    const { timers, watch, looks } = watched();
    await settled();
    assert.deepEqual([looks(), timers.pending.size], [0, 0]);
    const [first, second] = [(): void => {}, (): void => {}];
    watch.on('changes', first);
    watch.on('changes', second);
    await settled();
    assert.deepEqual([looks(), timers.pending.size], [1, 1]);
    await timers.fire();
    watch.off('changes', first);
    await timers.fire();
    assert.deepEqual([looks(), timers.pending.size], [3, 1]);
    watch.off('changes', second);
    assert.equal(timers.pending.size, 0);
    watch.on('changes', first);
    await settled();
    assert.deepEqual([looks(), timers.pending.size], [4, 1]);
  });

  test('tells once of each change', async () => {
    const { timers, now, watch } = watched();
    const told: string[][] = [];
    watch.on('changes', (changes) => told.push(say(changes)));
    await settled();
    now.queues = [queue(0, [subflow(1), subflow(2)]), queue(1, [subflow(1), subflow(2)])];
    await timers.fire();
    await timers.fire();
    now.queues = [queue(1, [subflow(2)])];
    await timers.fire();
    assert.deepEqual(told, [['added 2 2', 'added 2 2'], ['lost 1 1']]);
  });

  test('a queue that is connected again is another connection', async () => {
    const { timers, now, watch } = watched();
    const told: string[][] = [];
    now.queues = [queue(1, [subflow(1), subflow(2)])];
    watch.on('changes', (changes) => told.push(say(changes)));
    await settled();
    now.queues = [queue(1, [subflow(1)], { connection: 'another' })];
    await timers.fire();
    assert.deepEqual(told, [['added 2 2']]);
  });

  test('a look that ends after the last listener has left tells nobody, and is the last', async () => {
    const { timers, watch } = watched();
    let told = 0;
    const listener = (): void => {
      told++;
    };
    watch.on('changes', listener);
    watch.off('changes', listener);
    await settled();
    assert.deepEqual([told, timers.pending.size], [0, 0]);
  });

  test('once closed it looks no more', async () => {
    const { timers, watch, looks } = watched();
    watch.on('changes', () => {});
    await settled();
    watch.close();
    watch.on('changes', () => {});
    await settled();
    assert.deepEqual([looks(), timers.pending.size], [1, 0]);
  });
});

describe('sentences', () => {
  const sentences = (changes: readonly SubflowChange[]): string[] => subflowSentences(changes, () => 'nvme1');
  const change = (event: SubflowChange['event'], qid: number, one: Subflow | null, working: number): SubflowChange => ({
    event,
    queue: queue(qid, []),
    subflow: one,
    working,
  });

  test('queues that the same happened to are one sentence', () => {
    assert.deepEqual(
      sentences([
        change('stale', 0, subflow(2), 2),
        change('stale', 1, subflow(2), 1),
        change('added', 1, subflow(3), 2),
        change('recovered', 4, subflow(2), 2),
        change('lost', 4, subflow(1), 0),
        change('lost', 4, subflow(3), 11),
        change('fallback', 5, null, 1),
      ]),
      [
        'nvme1, queues 0-1: subflow 10.1.2.2 -> 10.1.2.1 stale: what was sent is not answered, 1 left that works',
        'nvme1, queue 1: subflow 10.1.3.2 -> 10.1.3.1 added',
        'nvme1, queue 4: subflow 10.1.2.2 -> 10.1.2.1 recovered',
        'nvme1, queue 4: subflow 10.1.1.2 -> 10.1.1.1 lost, none left that work',
        'nvme1, queue 4: subflow 10.1.3.2 -> 10.1.3.1 lost, 11 left that work',
        'nvme1, queue 5: fell back to TCP, there is one subflow',
      ],
    );
  });

  test('numbers of queues', () => {
    assert.equal(queueNumbers([3]), 'queue 3');
    assert.equal(queueNumbers([4, 0, 2, 1]), 'queues 0-2, 4');
  });
});
