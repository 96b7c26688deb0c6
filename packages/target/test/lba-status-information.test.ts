import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AsyncEventBit,
  Fid,
  LbaStatusLogHeader,
  LbaStatusNamespace,
  LbaStatusRange,
  Lid,
  lbaStatusLog,
} from '@nvbraid/wire';
import { type FakeQueue, Rig } from './fake-queue.ts';

const ALERT = 0x0e0502;
type Range = readonly [slba: number, blocks: number];

/** A rig whose namespaces have marks. */
function marked(): { rig: Rig; marks: Map<number, Range[]>; looks: () => number } {
  const rig = new Rig();
  const marks = new Map<number, Range[]>();
  let looks = 0;
  rig.hooks.lbaRanges = (namespace, kind, slba, blocks, limit) => {
    assert.deepEqual([kind, slba, blocks], ['unrecoverable', 0, namespace.blockCount]);
    looks++;
    return (marks.get(namespace.nsid) ?? []).slice(0, limit);
  };
  return { rig, marks, looks: () => looks };
}

interface Told {
  readonly lsgc: number;
  readonly estulb: number;
  readonly namespaces: [nsid: number, ratype: number, ranges: Range[] | 'all'][];
}

function read(queue: FakeQueue, rae: number, bytes = 64 * 1024): Told {
  const page = queue.getLog(Lid.LbaStatus, bytes, { rae }).reply!;
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const { lslplen, nlslne, estulb, lsgc } = LbaStatusLogHeader.parse(view, 0);
  const namespaces: Told['namespaces'] = [];
  let at = 16;
  for (let i = 0; i < nlslne; i++) {
    const { neid, nlrd, ratype } = LbaStatusNamespace.parse(view, at);
    at += 16;
    const count = nlrd === 0xffffffff ? 0 : nlrd;
    const ranges = Array.from({ length: count }, (_, k): Range => {
      const { rslba, rnlb } = LbaStatusRange.parse(view, at + 16 * k);
      return [rslba, rnlb + 1];
    });
    at += 16 * count;
    namespaces.push([neid, ratype, nlrd === 0xffffffff ? 'all' : ranges]);
  }
  assert.equal(lslplen, at, 'the length of the page');
  return { lsgc, estulb, namespaces };
}

test('bytes of an LBA Status Information log', () => {
  const page = lbaStatusLog(
    [
      {
        nsid: 3,
        ranges: [
          [0x1122334455, 1],
          [0x2000000000, 2 ** 32],
        ],
      },
      { nsid: 0x0a0b, ranges: 'all' },
    ],
    0x0102,
    0x11,
  );
  const hex = [
    '50000000 02000000 ffffffff 0000 0201',
    '03000000 02000000 11 00000000000000',
    '5544332211000000 00000000 00000000',
    '0000000020000000 ffffffff 00000000',
    '0b0a0000 ffffffff 11 00000000000000',
  ];
  assert.equal(Buffer.from(page).toString('hex'), hex.join('').replaceAll(' ', ''));
});

test('the log lists the marks of every namespace that the host sees', () => {
  const { rig, marks } = marked();
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 9 });
  rig.subsystem.addNamespace({ nsid: 3, device: null, blockSize: 512, blockCount: 9, hosts: [] });
  const { queue } = rig.ready();
  assert.deepEqual(read(queue, 1), { lsgc: 0, estulb: 0, namespaces: [] });
  marks.set(2, [
    [3, 1],
    [5, 2],
  ]);
  marks.set(3, [[0, 1]]);
  const held = read(queue, 1);
  assert.deepEqual(held, { lsgc: 0, estulb: 0, namespaces: [] }, 'a page does not change while it is read with RAE');
  const listed: Told['namespaces'] = [
    [
      2,
      0x11,
      [
        [3, 1],
        [5, 2],
      ],
    ],
  ];
  assert.deepEqual(read(queue, 0), { lsgc: 1, estulb: 3, namespaces: listed });
  assert.deepEqual(read(queue, 0), { lsgc: 1, estulb: 3, namespaces: listed }, 'nothing new');
  marks.set(2, [[5, 1]]);
  assert.deepEqual(read(queue, 0), { lsgc: 1, estulb: 1, namespaces: [[2, 0x11, [[5, 1]]]] }, 'less is not new');
  marks.set(2, [[5, 2]]);
  assert.equal(read(queue, 0).lsgc, 2);
  marks.set(1, [[999, 1]]);
  assert.equal(read(queue, 0).lsgc, 3);
});

test('a log of more ranges than fit says of which namespaces they are', () => {
  const { rig, marks } = marked();
  rig.subsystem.addNamespace({ nsid: 2, device: null, blockSize: 512, blockCount: 9999 });
  rig.subsystem.addNamespace({ nsid: 3, device: null, blockSize: 512, blockCount: 9 });
  const many = Array.from({ length: 1025 }, (_, i): Range => [2 * i, 1]);
  marks.set(1, [[7, 1]]);
  marks.set(2, many.slice(0, 1024));
  marks.set(3, [[8, 1]]);
  const { queue } = rig.ready();
  const { namespaces, estulb } = read(queue, 0);
  assert.deepEqual(namespaces, [
    [1, 0x11, [[7, 1]]],
    [2, 0x11, 'all'],
    [3, 0x11, [[8, 1]]],
  ]);
  assert.equal(estulb, 0xffffffff, 'not known');
});

test('an alert comes when the report interval is over and there are marks, and again after the next read', () => {
  const { rig, marks } = marked();
  const { queue } = rig.ready();
  assert.equal(queue.setFeature(Fid.LbaStatusInformation, 50).status, 0);
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, AsyncEventBit.LbaStatus).status, 0);
  const first = queue.asyncEventRequest(1);
  rig.advance(60_000);
  assert.equal(first.status, null, 'nothing to tell');
  marks.set(1, [[3, 1]]);
  rig.advance(5_000);
  assert.deepEqual([first.status, first.dw0], [0, ALERT]);
  const second = queue.asyncEventRequest(2);
  rig.advance(60_000);
  read(queue, 1);
  rig.advance(60_000);
  assert.equal(second.status, null, 'masked until the page is read without RAE');
  read(queue, 0);
  rig.advance(4_900);
  assert.equal(second.status, null, 'the interval begins with the read');
  rig.advance(100);
  assert.deepEqual([second.status, second.dw0], [0, ALERT]);
});

test('hosts that did not ask for alerts get none, and nobody looks for them', () => {
  const { rig, marks, looks } = marked();
  marks.set(1, [[3, 1]]);
  const { queue, controller } = rig.ready();
  const request = queue.asyncEventRequest(1);
  rig.advance(600_000);
  assert.deepEqual([request.status, looks()], [null, 0]);
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, AsyncEventBit.LbaStatus).status, 0);
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, 0).status, 0);
  rig.advance(600_000);
  assert.deepEqual([request.status, looks()], [null, 0]);
  assert.equal(queue.setFeature(Fid.AsyncEventConfiguration, AsyncEventBit.LbaStatus).status, 0);
  controller.remove('fault');
  rig.advance(600_000);
  assert.equal(looks(), 0, 'a controller that is gone');
});
