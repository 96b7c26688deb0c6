import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { RequeueList } from '../src/index.ts';
import { TestBio } from './support/fixture.ts';

const ids = (list: RequeueList<TestBio>): number[] => [...list].map(({ id }) => id);

describe('the requeue list', () => {
  test('is first in, first out, and keeps nothing of what left it', () => {
    const list = new RequeueList<TestBio>();
    const bios = [0, 1, 2].map((id) => new TestBio(id));
    for (const bio of bios) list.push(bio);
    assert.deepEqual([list.length, ids(list)], [3, [0, 1, 2]]);
    for (const bio of bios) {
      assert.equal(list.shift(), bio);
      assert.equal(bio.next, null);
    }
    assert.deepEqual([list.length, list.shift()], [0, null]);
  });

  test('takes over another list behind what it has, and leaves that one empty', () => {
    const rng = new Rng(40);
    const [one, two] = [new RequeueList<TestBio>(), new RequeueList<TestBio>()];
    let [first, second]: number[][] = [[], []];
    for (let id = 0; id < 2000; id++) {
      const [list, model] = rng.chance(0.5) ? [one, first!] : [two, second!];
      list.push(new TestBio(id));
      model.push(id);
      if (rng.chance(0.3)) assert.equal(list.shift()?.id, model.shift());
      if (rng.chance(0.2)) {
        one.takeAll(two);
        first = [...first!, ...second!];
        second = [];
      }
      if (rng.chance(0.02)) while (first!.length > 0) assert.equal(one.shift()?.id, first!.shift());
      assert.deepEqual([one.length, two.length], [first!.length, second!.length]);
      assert.deepEqual([ids(one), ids(two)], [first, second]);
    }
  });
});
