import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NvbraidError } from '@nvbraid/base';
import { LbaStatusDescriptor, LbaStatusList, Oacs, Status } from '@nvbraid/wire';
import { headAllocation } from '../src/head-allocation.ts';
import type { HostHead } from '../src/host-head.ts';

const BLOCK = 512;

type Answer = { cmpc?: number; list: [number, number][] } | number | 'lost' | Uint8Array;

function pageOf(answer: Exclude<Answer, number | 'lost'>): Uint8Array {
  if (answer instanceof Uint8Array) return answer;
  const { cmpc = 2, list } = answer;
  const page = new Uint8Array(LbaStatusList.size + list.length * LbaStatusDescriptor.size);
  const view = new DataView(page.buffer);
  LbaStatusList.emit(view, 0, { nlsd: list.length, cmpc });
  list.forEach(([dslba, nlb], i) => {
    LbaStatusDescriptor.emit(view, LbaStatusList.size + i * LbaStatusDescriptor.size, { dslba, nlb });
  });
  return page;
}

/** A head whose controllers answer Get LBA Status as they are told. */
function headOf(answers: Answer[], options: { dlfeat?: number; oacs?: number } = {}) {
  const asked: [controller: number, slba: number, rl: number][] = [];
  const head = {
    nsid: 1,
    blockSize: BLOCK,
    gone: null as NvbraidError | null,
    identify: { dlfeat: options.dlfeat ?? 1 },
    subsystem: {
      controllers: answers.map((answer, i) => ({
        state: 'live',
        namespaces: new Map([[1, {}]]),
        core: { identify: { oacs: options.oacs ?? Oacs.GetLbaStatus } },
        async admin({ cdw10, cdw13 }: { cdw10: number; cdw13: number }) {
          asked.push([i, cdw10, cdw13 & 0xffff]);
          assert.equal(cdw13 >>> 24, 2, 'the action is: allocated');
          if (answer === 'lost') throw new NvbraidError('ECONNRESET', 'lost');
          return typeof answer === 'number'
            ? { status: answer, data: new Uint8Array(0) }
            : { status: 0, data: pageOf(answer) };
        },
      })),
    },
  };
  return { head, asked, ask: headAllocation(head as unknown as HostHead) };
}

/** Extents in blocks: d for data, z for a hole of zeroes, h for any other hole. */
async function blocksOf(ask: ReturnType<typeof headAllocation>, slba: number, blocks: number): Promise<string> {
  const extents = await ask(slba * BLOCK, blocks * BLOCK);
  return extents.map(({ length, hole, zero }) => `${length / BLOCK}${hole ? (zero ? 'z' : 'h') : 'd'}`).join(' ');
}

describe('allocation of a head by Get LBA Status', () => {
  test('what is not in the list is a hole', async () => {
    const { ask, asked } = headOf([
      {
        list: [
          [10, 5],
          [20, 10],
        ],
      },
    ]);
    assert.equal(await blocksOf(ask, 0, 40), '10z 5d 5z 10d 10z');
    assert.deepEqual(asked, [[0, 0, 40]]);
    assert.equal(await blocksOf(ask, 12, 10), '3d 5z 2d', 'descriptors that reach beyond what was asked for');
  });

  test('holes are zeroes only where the namespace says so', async () => {
    assert.equal(await blocksOf(headOf([{ list: [] }], { dlfeat: 0 }).ask, 0, 8), '8h');
    assert.equal(await blocksOf(headOf([{ list: [] }], { dlfeat: 2 }).ask, 0, 8), '8h');
    assert.equal(await blocksOf(headOf([{ list: [] }], { dlfeat: 9 }).ask, 0, 8), '8z');
  });

  test('beyond a list that is cut short nothing is said', async () => {
    assert.equal(await blocksOf(headOf([{ cmpc: 1, list: [[4, 4]] }]).ask, 0, 40), '4z 4d');
    assert.equal(await blocksOf(headOf([{ cmpc: 1, list: [] }]).ask, 0, 40), '40d');
  });

  test('what is longer than RL can say is asked for up to the end of the namespace', async () => {
    const { ask, asked } = headOf([{ list: [[0, 200000]] }]);
    assert.equal(await blocksOf(ask, 0, 100000), '100000d');
    assert.deepEqual(asked, [[0, 0, 0]]);
  });

  test('lists that make no sense count for nothing', async () => {
    const none = pageOf({ list: [[0, 1]] });
    const torn = none.slice(0, 12);
    const lying = Uint8Array.from(none);
    new DataView(lying.buffer).setUint32(0, 0xffffffff, true);
    for (const answer of [
      {
        list: [
          [8, 4],
          [2, 1],
        ],
      } as Answer,
      {
        list: [
          [8, 4],
          [10, 4],
        ],
      } as Answer,
      torn,
      lying,
      new Uint8Array(3),
    ]) {
      assert.equal(await blocksOf(headOf([answer]).ask, 0, 40), '40d');
    }
  });

  test('another controller is asked when one is lost or refuses, and one that never heard of it is not asked again', async () => {
    const { ask, asked } = headOf(['lost', Status.InvalidField, Status.AnaInaccessible, { list: [[0, 1]] }]);
    assert.equal(await blocksOf(ask, 0, 4), '1d 3z');
    assert.equal(await blocksOf(ask, 0, 4), '1d 3z');
    assert.deepEqual(
      asked.map(([controller]) => controller),
      [0, 1, 2, 3, 0, 2, 3],
    );
  });

  test('where no controller can tell, all is allocated', async () => {
    const { ask, asked } = headOf([{ list: [] }], { oacs: 0 });
    assert.equal(await blocksOf(ask, 0, 4), '4d');
    assert.deepEqual(asked, []);
    assert.equal(await blocksOf(headOf(['lost']).ask, 0, 4), '4d');
    assert.equal(await blocksOf(headOf([]).ask, 0, 4), '4d');
  });

  test('a namespace that is gone has no blocks', async () => {
    const { head, ask } = headOf([{ list: [] }]);
    head.gone = new NvbraidError('ENOENT', 'namespace 1 is there no more');
    await assert.rejects(ask(0, 512), /there no more/);
    await assert.rejects(ask(0, 512), /there no more/, 'one failure does not stop the next question');
  });

  test('one question is under way at a time', async () => {
    const { head, ask } = headOf([{ list: [] }]);
    let running = 0;
    let most = 0;
    const controller = head.subsystem.controllers[0]!;
    const { admin } = controller;
    controller.admin = async (command) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return admin(command);
    };
    await Promise.all(Array.from({ length: 20 }, () => ask(0, 512)));
    assert.equal(most, 1);
  });
});
