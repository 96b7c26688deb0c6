import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Story } from './model/story.ts';

/*
 * A million steps in pieces. NVBRAID_MODEL_SEED runs one seed alone, as a failure tells it; NVBRAID_MODEL_STEPS sets
 * the steps of a piece, NVBRAID_MODEL_PIECES their number.
 */
const { NVBRAID_MODEL_SEED, NVBRAID_MODEL_STEPS = '50000', NVBRAID_MODEL_PIECES = '20' } = process.env;
const steps = Number(NVBRAID_MODEL_STEPS);
const seeds =
  NVBRAID_MODEL_SEED === undefined
    ? Array.from({ length: Number(NVBRAID_MODEL_PIECES) }, (_, i) => i + 1)
    : [Number(NVBRAID_MODEL_SEED)];

describe(`row 43: library and reference agree on ${seeds.length} stories of ${steps} steps`, () => {
  for (const seed of seeds) {
    test(`seed ${seed}`, () => {
      const story = new Story(seed, seed % 2 === 0);
      story.run(steps);
      if (steps < 10_000) return;
      for (const [step, count] of story.taken) assert.ok(count > 100, `${step} was taken ${count} times`);
      assert.ok(story.submitted > steps / 10);
    });
  }
});
