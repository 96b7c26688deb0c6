import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Rng } from '@nvbraid/base';
import { type BlockDevice, type Io, IoOp, IoResult, memoryDevice, openDevice } from '@nvbraid/blockdev';
import { COPY_RANGE_SIZE, CopyRange, CopySqe, DNR, IoOpcode, RwSqe, Status } from '@nvbraid/wire';
import { IoCommands } from '../src/io/io-commands.ts';
import { Counter, IoCounters } from '../src/io/io-counters.ts';
import { Pieces } from '../src/io/pieces.ts';
import { MAX_PIECES, PIECE_BYTES } from '../src/limits.ts';
import { NamespaceTable } from '../src/namespace-table.ts';
import { IoRequest, ioOf } from './io-request.ts';

/* Commands of several operations: Compare, Verify, Copy. */

const BLOCK = 4096;
const BLOCKS = 2048;

/** A device that can end its operations later, and fail one of them. */
class Stepper implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount = BLOCKS;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly memory = null;
  readonly lower = openDevice(memoryDevice({ size: BLOCK * BLOCKS }), { threads: 1 });
  later = false;
  /** Fails the operation of this number, counted from 0. */
  failAt = -1;
  readonly log: string[] = [];
  readonly waiting: Io[] = [];

  submit(io: Io): boolean {
    const name = Object.entries(IoOp).find(([, op]) => op === io.op)![0];
    this.log.push(`${name} ${io.offset / BLOCK}+${io.length / BLOCK}${io.fua ? ' fua' : ''}`);
    if (this.later) {
      this.waiting.push(io);
      return false;
    }
    this.#run(io);
    return true;
  }

  finish(): void {
    const io = this.waiting.shift()!;
    this.#run(io);
    io.done(io);
  }

  #run(io: Io): void {
    if (this.log.length - 1 === this.failAt) io.result = IoResult.MediaError;
    else this.lower.submit(io);
  }

  async close(): Promise<void> {}
}

function setup(change: object = {}) {
  const device = new Stepper();
  const table = new NamespaceTable(() => device);
  const namespace = { nsid: 1, instance: 1, blockSize: BLOCK, blockCount: BLOCKS, readOnly: false, pathStatus: 0 };
  const rest = { volatileWriteCache: false, thin: false, anaGroupId: 1, device: null, ...change };
  const update = (version: number): void =>
    table.update({ nqn: 'x', portId: 1, version, namespaces: [{ ...namespace, ...rest }] });
  update(1);
  const counters = new IoCounters();
  const pieces = new Pieces();
  const commands = new IoCommands(table, counters, { pieces });
  const disk = Memory.alloc(BLOCK * BLOCKS);
  new Rng(7).fill(disk.bytes);
  device.lower.submit(ioOf(IoOp.Write, disk));
  let index = 0;
  const run = (request: IoRequest): IoRequest => {
    const status = commands.admit(request);
    if (status !== 0) request.complete(status);
    else commands.execute(request);
    return request;
  };
  const range = (
    opcode: number,
    slba: number,
    blocks: number,
    data: Uint8Array<ArrayBufferLike> = new Uint8Array(0),
  ): IoRequest => {
    const request = new IoRequest(index++, opcode, data);
    RwSqe.emit(request.sqeView, 0, { opc: opcode, nsid: 1, slba, nlb: blocks - 1, sglLength: data.length });
    return run(request);
  };
  const copy = (sdlba: number, ranges: [number, number][], fields: Partial<CopySqe> = {}): IoRequest => {
    const data = Memory.alloc(Math.max(1, ranges.length) * COPY_RANGE_SIZE);
    for (const [i, [slba, blocks]] of ranges.entries()) {
      CopyRange.emit(data.view, i * COPY_RANGE_SIZE, { slba, nlb: blocks - 1 });
    }
    const request = new IoRequest(index++, IoOpcode.Copy, data.bytes);
    const sqe = { opc: IoOpcode.Copy, nsid: 1, sdlba, nr: ranges.length - 1, ...fields };
    CopySqe.emit(request.sqeView, 0, { ...sqe, sglLength: data.length });
    return run(request);
  };
  const contents = (): Uint8Array => {
    const now = Memory.alloc(BLOCK * BLOCKS);
    device.lower.submit(ioOf(IoOp.Read, now));
    return now.bytes;
  };
  return { device, disk, commands, counters, update, table, range, copy, contents };
}

const slice = (disk: Memory, slba: number, blocks: number): Uint8Array =>
  disk.bytes.slice(slba * BLOCK, (slba + blocks) * BLOCK);

test('Compare looks at every block, and at none behind the first piece that differs', () => {
  const { device, disk, range, counters } = setup();
  assert.equal(range(IoOpcode.Compare, 5, 80, slice(disk, 5, 80)).status, 0);
  assert.deepEqual(device.log, ['Read 5+32', 'Read 37+32', 'Read 69+16']);
  for (const at of [0, 40 * BLOCK, 80 * BLOCK - 1]) {
    const data = slice(disk, 5, 80);
    data[at]! ^= 1;
    device.log.length = 0;
    assert.equal(range(IoOpcode.Compare, 5, 80, data).status, Status.CompareFailure | DNR, `byte ${at}`);
    assert.equal(device.log.length, Math.floor(at / PIECE_BYTES) + 1);
  }
  assert.deepEqual([counters.words[Counter.otherCommands], counters.words[Counter.errors]], [1, 3]);
  assert.equal(range(IoOpcode.Compare, BLOCKS - 1, 2, new Uint8Array(2 * BLOCK)).status, Status.LbaOutOfRange | DNR);
  assert.equal(range(IoOpcode.Compare, 0, 2, new Uint8Array(BLOCK)).status, Status.DataSglLengthInvalid | DNR);
});

test('Verify reads every block, up to its limit, and tells what cannot be read', () => {
  const { device, range } = setup();
  assert.equal(range(IoOpcode.Verify, 0, 70).status, 0);
  assert.deepEqual(device.log, ['Read 0+32', 'Read 32+32', 'Read 64+6']);
  assert.equal(range(IoOpcode.Verify, 0, 1024).status, 0);
  assert.equal(range(IoOpcode.Verify, 0, 1025).status, Status.InvalidField | DNR);
  assert.equal(range(IoOpcode.Verify, BLOCKS, 1).status, Status.LbaOutOfRange | DNR);
  device.failAt = device.log.length + 1;
  assert.equal(range(IoOpcode.Verify, 0, 70).status, Status.UnrecoveredReadError);
});

test('a command ends when its namespace is replaced between two steps', () => {
  const { device, table, range } = setup();
  device.later = true;
  const verify = range(IoOpcode.Verify, 0, 70);
  table.clear();
  device.finish();
  assert.equal(verify.status, Status.NamespaceNotReady);
});

test('Copy puts its ranges one after the other', () => {
  const { device, disk, copy, contents } = setup();
  const request = copy(
    1000,
    [
      [3, 1],
      [100, 40],
      [3, 2],
    ],
    { fua: 1 },
  );
  assert.deepEqual([request.status, request.dw0], [0, 0]);
  assert.deepEqual(device.log, [
    'Read 3+1',
    'Write 1000+1 fua',
    'Read 100+32',
    'Write 1001+32 fua',
    'Read 132+8',
    'Write 1033+8 fua',
    'Read 3+2',
    'Write 1041+2 fua',
  ]);
  const expected = disk.bytes.slice();
  expected.set(slice(disk, 3, 1), 1000 * BLOCK);
  expected.set(slice(disk, 100, 40), 1001 * BLOCK);
  expected.set(slice(disk, 3, 2), 1041 * BLOCK);
  assert.deepEqual(contents(), expected);
});

test('a Copy that cannot be done as a whole changes nothing', () => {
  const { device, copy } = setup();
  const many = Array.from({ length: 129 }, (): [number, number] => [0, 1]);
  const cases: [string, IoRequest, number][] = [
    ['more ranges than MSRC', copy(1000, many), Status.CommandSizeLimitExceeded],
    ['a range longer than MSSRL', copy(1000, [[0, 257]]), Status.CommandSizeLimitExceeded],
    ['more than MCL', copy(1000, Array(5).fill([0, 250])), Status.CommandSizeLimitExceeded],
    [
      'a source behind the end',
      copy(0, [
        [10, 1],
        [BLOCKS - 1, 2],
      ]),
      Status.LbaOutOfRange,
    ],
    ['a destination behind the end', copy(BLOCKS - 1, [[10, 2]]), Status.LbaOutOfRange],
    ['a destination beyond all numbers', copy(2 ** 53 - 1, [[10, 2]]), Status.LbaOutOfRange],
    ['an overlap of one block', copy(20, [[10, 11]]), Status.OverlappingIoRange],
    [
      'an overlap with a later range',
      copy(20, [
        [0, 4],
        [23, 4],
      ]),
      Status.OverlappingIoRange,
    ],
    ['another format', copy(0, [[10, 1]], { df: 2 }), Status.InvalidField],
    ['a directive', copy(0, [[10, 1]], { dtype: 1 }), Status.InvalidField],
    ['fewer bytes than ranges', copy(0, [[10, 1]], { nr: 1 }), Status.DataSglLengthInvalid],
  ];
  for (const [name, request, status] of cases) {
    assert.deepEqual([request.status, request.dw0], [status | DNR, 0], name);
  }
  assert.equal(setup({ readOnly: true }).copy(0, [[9, 1]]).status, Status.NamespaceIsWriteProtected | DNR);
  assert.deepEqual(device.log, []);
  assert.equal(copy(20, [[10, 10]]).status, 0, 'neighbours are no overlap');
});

test('dword 0 of a Copy that fails names the first range that is not whole', () => {
  for (const [failAt, status, dw0] of [
    [0, Status.UnrecoveredReadError, 0],
    [1, Status.WriteFault, 0],
    [4, Status.UnrecoveredReadError, 1],
    [7, Status.WriteFault, 2],
  ] as const) {
    const { device, copy } = setup();
    device.failAt = failAt;
    const request = copy(1000, [
      [0, 1],
      [10, 40],
      [60, 1],
    ]);
    assert.deepEqual([request.status, request.dw0], [status, dw0]);
  }
});

test('commands beyond the number of pieces wait, in order, and all end', () => {
  const { device, range } = setup();
  device.later = true;
  const requests = Array.from({ length: 3 * MAX_PIECES }, (_, i) => range(IoOpcode.Verify, i, 1));
  assert.equal(device.waiting.length, MAX_PIECES);
  device.finish();
  assert.equal(device.log.at(-1), `Read ${MAX_PIECES}+1`);
  device.later = false;
  while (device.waiting.length > 0) device.finish();
  assert.ok(requests.every((request) => request.status === 0));
});

test('write-through makes every write one with FUA', () => {
  const { device, range, copy } = setup({ writeThrough: true });
  range(IoOpcode.Write, 0, 1, new Uint8Array(BLOCK));
  range(IoOpcode.WriteZeroes, 1, 1);
  copy(10, [[2, 1]]);
  assert.deepEqual(device.log, ['Write 0+1 fua', 'WriteZeroes 1+1 fua', 'Read 2+1', 'Write 10+1 fua']);
});

test('a Write of a directive is refused', () => {
  const { commands } = setup();
  const request = new IoRequest(0, IoOpcode.Write, new Uint8Array(BLOCK));
  RwSqe.emit(request.sqeView, 0, { opc: IoOpcode.Write, nsid: 1, dtype: 1, sglLength: BLOCK });
  assert.equal(commands.admit(request), Status.InvalidField | DNR);
});
