import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Slab } from '@nvbraid/base';
import { type BlockDevice, type Io, IoOp, IoResult } from '@nvbraid/blockdev';
import { DNR, DsmRange, IoOpcode, RwSqe, Sqe, Status } from '@nvbraid/wire';
import { IoCommands } from '../src/io/io-commands.ts';
import { Counter, IoCounters } from '../src/io/io-counters.ts';
import { NamespaceTable } from '../src/namespace-table.ts';
import type { CommandQueue, Request } from '../src/request.ts';
import type { NamespaceSnapshot } from '../src/snapshot.ts';

const BLOCK = 512;
const BLOCKS = 64;

/** A device that writes down what it is asked for, and finishes now or when told. */
class Recorder implements BlockDevice {
  readonly blockSize = BLOCK;
  readonly blockCount = BLOCKS;
  readonly readOnly = false;
  readonly volatileWriteCache = true;
  readonly thin = true;
  memory: Memory | null = null;
  later = false;
  result: IoResult = IoResult.Ok;
  readonly store = Memory.alloc(BLOCK * BLOCKS);
  readonly log: string[] = [];
  readonly waiting: Io[] = [];

  submit(io: Io): boolean {
    const name = Object.entries(IoOp).find(([, op]) => op === io.op)![0];
    this.log.push(`${name} ${io.offset}+${io.length}${io.fua ? ' fua' : ''}${io.deallocate ? ' deallocate' : ''}`);
    if (this.later) {
      this.waiting.push(io);
      return false;
    }
    this.run(io);
    return true;
  }

  run(io: Io): void {
    const { bytes } = this.store;
    const part = { from: io.memoryOffset, to: io.memoryOffset + io.length };
    if (io.op === IoOp.Write) bytes.set(io.memory.bytes.subarray(part.from, part.to), io.offset);
    if (io.op === IoOp.Read) io.memory.bytes.set(bytes.subarray(io.offset, io.offset + io.length), part.from);
    io.result = this.result;
  }

  finish(): void {
    const io = this.waiting.shift()!;
    this.run(io);
    io.done(io);
  }

  async close(): Promise<void> {}
}

class FakeRequest implements Request {
  readonly queue = null as unknown as CommandQueue;
  readonly index: number;
  readonly sqe = Memory.alloc(64);
  readonly sqeView = this.sqe.view;
  readonly sqeBase = 0;
  readonly cid = 1;
  readonly opcode: number;
  readonly fabrics: boolean = false;
  sglLength = 0;
  dataLength = 0;
  dataMemory = Memory.alloc(8192);
  dataOffset = 0;
  kept = 0;
  slabs = 1;
  reply: [Memory, number] | null = null;
  status = -1;
  completions = 0;

  constructor(opcode: number, fields: Partial<RwSqe>, sglLength = 0, index = 0) {
    this.opcode = opcode;
    this.index = index;
    RwSqe.emit(this.sqeView, 0, { opc: opcode, nsid: 1, ...fields });
    this.sglLength = sglLength;
    this.dataLength = sglLength;
  }

  keepData(): void {
    this.kept++;
  }
  replyBuffer(): Slab | null {
    if (this.slabs-- <= 0) return null;
    const slab = new Slab(8192, 13);
    this.reply = [slab, 0];
    return slab;
  }
  replyFrom(memory: Memory, offset: number): void {
    this.reply = [memory, offset];
  }
  replyBytes(): void {
    assert.fail('not used');
  }
  complete(status: number): void {
    this.completions++;
    this.status = status;
  }
}

function setup(change: Partial<NamespaceSnapshot> = {}) {
  const device = new Recorder();
  const table = new NamespaceTable(() => device);
  const counters = new IoCounters();
  const commands = new IoCommands(table, counters);
  const namespace: NamespaceSnapshot = {
    nsid: 1,
    instance: 1,
    blockSize: BLOCK,
    blockCount: BLOCKS,
    readOnly: false,
    volatileWriteCache: true,
    thin: true,
    anaGroupId: 1,
    pathStatus: 0,
    device: null,
    ...change,
  };
  const update = (version: number, more: Partial<NamespaceSnapshot> = {}): void =>
    table.update({ nqn: 'x', portId: 1, version, namespaces: [{ ...namespace, ...more }] });
  update(1);
  /** Runs a command as a queue does. */
  const run = (request: FakeRequest): FakeRequest => {
    const status = commands.admit(request);
    if (status !== 0) request.complete(status);
    else commands.execute(request);
    return request;
  };
  return { device, table, counters, commands, update, run };
}

const refusals: [string, number, Partial<RwSqe>, number, Partial<NamespaceSnapshot>, number][] = [
  ['read past the end', IoOpcode.Read, { slba: 63, nlb: 1 }, 1024, {}, Status.LbaOutOfRange | DNR],
  ['write past the end', IoOpcode.Write, { slba: 64, nlb: 0 }, 512, {}, Status.LbaOutOfRange | DNR],
  ['zeroes past the end', IoOpcode.WriteZeroes, { slba: 60, nlb: 4 }, 0, {}, Status.LbaOutOfRange | DNR],
  ['an LBA of 2^53-1', IoOpcode.Read, { slba: Number.MAX_SAFE_INTEGER, nlb: 0 }, 512, {}, Status.LbaOutOfRange | DNR],
  ['an unknown namespace', IoOpcode.Read, { nsid: 2 }, 512, {}, Status.InvalidNamespaceOrFormat | DNR],
  ['namespace 0', IoOpcode.Flush, { nsid: 0 }, 0, {}, Status.InvalidNamespaceOrFormat | DNR],
  ['too short an SGL', IoOpcode.Read, { nlb: 1 }, 512, {}, Status.DataSglLengthInvalid | DNR],
  ['no SGL', IoOpcode.Write, { nlb: 0 }, 0, {}, Status.DataSglLengthInvalid | DNR],
  [
    'a read-only namespace',
    IoOpcode.Write,
    { nlb: 0 },
    512,
    { readOnly: true },
    Status.NamespaceIsWriteProtected | DNR,
  ],
  ['zeroes when read-only', IoOpcode.WriteZeroes, {}, 0, { readOnly: true }, Status.NamespaceIsWriteProtected | DNR],
  [
    'trim when read-only',
    IoOpcode.DatasetManagement,
    {},
    16,
    { readOnly: true },
    Status.NamespaceIsWriteProtected | DNR,
  ],
  [
    'a path that is inaccessible',
    IoOpcode.Read,
    {},
    512,
    { pathStatus: Status.AnaInaccessible },
    Status.AnaInaccessible,
  ],
  ['an unknown opcode', 0x55, {}, 0, {}, Status.InvalidOpcode | DNR],
];
for (const [name, opcode, fields, sgl, namespace, status] of refusals) {
  test(`refused without touching the device: ${name}`, () => {
    const { device, run, counters } = setup(namespace);
    const request = run(new FakeRequest(opcode, fields, sgl));
    assert.equal(request.status, status);
    assert.equal(request.completions, 1);
    assert.deepEqual(device.log, []);
    assert.equal(counters.words[Counter.errors], 1);
  });
}

test('a transfer above MDTS is refused', () => {
  const { commands } = setup({ blockSize: 65536, blockCount: 1000 });
  assert.equal(commands.admit(new FakeRequest(IoOpcode.Read, { nlb: 15 }, 1 << 20)), 0);
  assert.equal(commands.admit(new FakeRequest(IoOpcode.Read, { nlb: 16 }, 17 << 16)), Status.InvalidField | DNR);
});

test('read, write, flags and counters', () => {
  const { device, run, counters } = setup();
  const write = new FakeRequest(IoOpcode.Write, { slba: 3, nlb: 1, fua: 1 }, 1024);
  write.dataMemory.bytes.fill(7);
  run(write);
  assert.deepEqual([write.status, write.kept], [0, 1], 'the data is kept: the device may finish later');
  const read = run(new FakeRequest(IoOpcode.Read, { slba: 2, nlb: 2 }, 4096));
  assert.equal(read.dataLength, 1536, 'a longer SGL is legal, the command decides');
  assert.deepEqual([...read.reply![0].bytes.slice(510, 514)], [0, 0, 7, 7]);
  run(new FakeRequest(IoOpcode.WriteZeroes, { slba: 4, nlb: 0, deac: 1 }));
  run(new FakeRequest(IoOpcode.Flush, {}));
  assert.deepEqual(device.log, [
    'Write 1536+1024 fua',
    'Read 1024+1536',
    'WriteZeroes 2048+512 deallocate',
    'Flush 0+0',
  ]);
  assert.deepEqual(IoCounters.sum([counters, counters]), {
    readCommands: 2,
    writeCommands: 2,
    otherCommands: 4,
    readBytes: 3072,
    writtenBytes: 2048,
    errors: 0,
    mediaErrors: 0,
  });
});

test('memory is sent from where it lies, and a write of a transient buffer is not copied twice', () => {
  const { device, run } = setup();
  device.memory = device.store;
  const read = run(new FakeRequest(IoOpcode.Read, { slba: 5, nlb: 0 }, 512));
  assert.deepEqual(read.reply, [device.store, 5 * BLOCK]);
  assert.deepEqual(device.log, []);
  assert.equal(run(new FakeRequest(IoOpcode.Write, { nlb: 0 }, 512)).kept, 0);
});

test('a read without payload memory is left to the queue and completes when run again', () => {
  const { commands, run } = setup();
  const request = new FakeRequest(IoOpcode.Read, { nlb: 0 }, 512);
  request.slabs = 0;
  run(request);
  assert.equal(request.completions, 0);
  request.slabs = 1;
  commands.execute(request);
  assert.equal(request.status, 0);
});

test('operations that end later complete once, in the order in which they end', () => {
  const { device, run } = setup();
  device.later = true;
  const a = run(new FakeRequest(IoOpcode.Write, { nlb: 0 }, 512, 0));
  const b = run(new FakeRequest(IoOpcode.Read, { nlb: 0 }, 512, 1));
  assert.deepEqual([a.completions, b.completions], [0, 0]);
  device.finish();
  assert.deepEqual([a.status, b.completions], [0, 0]);
  device.finish();
  assert.equal(b.status, 0);
});

test('what the medium says becomes a status', () => {
  const { device, run, counters } = setup();
  const expected: [IoResult, number, number][] = [
    [IoResult.MediaError, IoOpcode.Read, Status.UnrecoveredReadError],
    [IoResult.MediaError, IoOpcode.Write, Status.WriteFault],
    [IoResult.MediaError, IoOpcode.Flush, Status.WriteFault],
    [IoResult.NoSpace, IoOpcode.Write, Status.CapacityExceeded | DNR],
    [IoResult.ReadOnly, IoOpcode.Write, Status.NamespaceIsWriteProtected | DNR],
    [IoResult.OutOfRange, IoOpcode.Read, Status.LbaOutOfRange | DNR],
    [IoResult.NotSupported, IoOpcode.WriteZeroes, Status.InvalidOpcode | DNR],
    [IoResult.Failed, IoOpcode.Read, Status.InternalError],
  ];
  for (const [result, opcode, status] of expected) {
    device.result = result;
    assert.equal(run(new FakeRequest(opcode, { nlb: 0 }, 512)).status, status);
  }
  assert.equal(counters.words[Counter.mediaErrors], 3);
});

function trim(ranges: [number, number][], ad = true): FakeRequest {
  const request = new FakeRequest(IoOpcode.DatasetManagement, {}, ranges.length * 16);
  Sqe.cdw10.set(request.sqeView, 0, ranges.length - 1);
  Sqe.cdw11.set(request.sqeView, 0, ad ? 4 : 1);
  for (const [i, [slba, nlb]] of ranges.entries()) DsmRange.emit(request.dataMemory.view, i * 16, { slba, nlb });
  return request;
}

test('Dataset Management: ranges in turn, empty ones left out, nothing done when one is wrong', () => {
  const { device, run } = setup();
  device.later = true;
  const request = run(
    trim([
      [1, 2],
      [9, 0],
      [10, 1],
    ]),
  );
  device.finish();
  assert.equal(request.completions, 0);
  device.finish();
  assert.equal(request.status, 0);
  assert.deepEqual(device.log, ['Deallocate 512+1024', 'Deallocate 5120+512']);
  const wrong = run(
    trim([
      [1, 2],
      [63, 2],
    ]),
  );
  assert.equal(wrong.status, Status.LbaOutOfRange | DNR);
  assert.equal(run(trim([[1, 2]], false)).status, 0);
  assert.equal(run(trim([[1, 0]])).status, 0);
  assert.equal(device.log.length, 2);
});

test('Flush of all namespaces flushes each, fails when one fails, and is done when there is none', () => {
  const { device, table, run } = setup();
  const two = [1, 2].map((nsid) => ({ ...[...table.entries()][0]!.snapshot, nsid, instance: nsid }));
  table.update({ nqn: 'x', portId: 1, version: 2, namespaces: two });
  assert.equal(run(new FakeRequest(IoOpcode.Flush, { nsid: 0xffffffff })).status, 0);
  assert.deepEqual(device.log, ['Flush 0+0', 'Flush 0+0']);
  device.result = IoResult.MediaError;
  assert.equal(run(new FakeRequest(IoOpcode.Flush, { nsid: 0xffffffff })).status, Status.WriteFault);
  table.update({ nqn: 'x', portId: 1, version: 3, namespaces: [] });
  assert.equal(run(new FakeRequest(IoOpcode.Flush, { nsid: 0xffffffff })).status, 0);
});

test('a snapshot holds for the next command, also for a write whose data was on its way', () => {
  const { device, commands, update, run } = setup();
  const write = new FakeRequest(IoOpcode.Write, { nlb: 0 }, 512);
  assert.equal(commands.admit(write), 0);
  update(2, { readOnly: true });
  commands.execute(write);
  assert.equal(write.status, Status.NamespaceIsWriteProtected | DNR);
  update(1, { readOnly: false });
  assert.equal(run(new FakeRequest(IoOpcode.Write, { nlb: 0 }, 512)).status, Status.NamespaceIsWriteProtected | DNR);
  update(3, { blockCount: 2 });
  assert.equal(run(new FakeRequest(IoOpcode.Read, { slba: 2 }, 512)).status, Status.LbaOutOfRange | DNR);
  const read = new FakeRequest(IoOpcode.Read, { slba: 0 }, 512);
  assert.equal(commands.admit(read), 0);
  update(4, { blockSize: 4096, blockCount: 8 });
  commands.execute(read);
  assert.equal(read.status, Status.NamespaceNotReady);
  assert.deepEqual(device.log, []);
});
