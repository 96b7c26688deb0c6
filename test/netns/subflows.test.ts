/* What the loss of subflows is to NVMe: nothing while one is left, and the error of a path when none is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play, type StoryResult, storyTables } from '../../bench/netns/stories.ts';
import { type Cast, isImpairedStory, STORIES, type StoryName } from '../../bench/netns/story-list.ts';
import { COMMON, RATE_MBIT, skipped } from './bed.ts';

const skip = skipped({ mptcp: true, impairment: null });
const long = process.env.NVBRAID_LONG === '1' ? skip : 'only with NVBRAID_LONG=1';

async function played(name: StoryName, cast: Cast): Promise<StoryResult> {
  const result = await play(name, cast, { ...COMMON, rateMbit: RATE_MBIT, quietSeconds: 3, progress: console.log });
  for (const line of storyTables([result])) console.log(line);
  assert.equal(result.errors, 0);
  assert.ok(result.checked_blocks > 0, 'everything written was read back');
  return result;
}

function castOf(name: StoryName, start: string): Cast {
  return STORIES[name].casts.find((cast) => cast.name.startsWith(start))!;
}

test('row 7: a link that goes and comes back is no event for NVMe over MPTCP', { skip }, async () => {
  const { resets, reconnects, failovers } = await played('link-down', castOf('link-down', 'MPTCP'));
  assert.deepEqual([resets, reconnects, failovers], [0, 0, 0]);
});

test('row 7: the loss of all subflows is one error of the path, and commands wait until it is back', {
  skip,
}, async () => {
  const { resets, reconnects } = await played('all-down', castOf('all-down', 'MPTCP, one path'));
  assert.deepEqual([resets, reconnects], [1, 1]);
});

test('row 7: after the loss of all subflows commands go by a path over TCP', { skip }, async () => {
  const { resets, failovers, during_mib_s } = await played('all-down', castOf('all-down', 'MPTCP, and TCP'));
  assert.equal(resets, 1);
  assert.ok(failovers > 0);
  assert.ok(during_mib_s > 0, 'the other path carried something meanwhile');
});

test('TCP paths whose link goes and comes back are lost and replaced', { skip: long }, async () => {
  const { resets } = await played('link-down', castOf('link-down', 'TCP'));
  assert.ok(resets > 0);
});

for (const name of ['each-link', 'link-loss', 'link-slow'] as const) {
  for (const cast of STORIES[name].casts) {
    const impairment = isImpairedStory(name) ? 'segments' : null;
    const skip = long || skipped({ mptcp: true, impairment });
    test(`${STORIES[name].title}: ${cast.name}`, { skip }, async () => {
      await played(name, cast);
    });
  }
}
