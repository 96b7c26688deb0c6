import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BlockDevice, type Io, IoOp, IoResult, memoryDevice, openDevice } from '@nvbraid/blockdev';
import { IoOpcode, PduType, Status } from '@nvbraid/wire';
import { IoCommands } from '../src/io/io-commands.ts';
import { IoCounters } from '../src/io/io-counters.ts';
import { NamespaceTable } from '../src/namespace-table.ts';
import { Peer, pattern, type Seen, status } from './queue-peer.ts';

const BLOCK = 512;
const BLOCKS = 16;

/** A device that can hold up what it is asked for, and fail it. */
class Slow implements BlockDevice {
  readonly lower = openDevice(memoryDevice({ size: BLOCK * BLOCKS, blockSize: BLOCK }), { threads: 1 });
  readonly blockSize = BLOCK;
  readonly blockCount = BLOCKS;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly memory = null;
  compareAndWrite = true;
  later = false;
  result: IoResult = IoResult.Ok;
  readonly waiting: Io[] = [];
  readonly ops: number[] = [];

  submit(io: Io): boolean {
    this.ops.push(io.op);
    if (this.later) this.waiting.push(io);
    else this.#run(io);
    return !this.later;
  }

  finish(): void {
    const io = this.waiting.shift()!;
    this.#run(io);
    io.done(io);
  }

  #run(io: Io): void {
    this.lower.submit(io);
    if (this.result !== IoResult.Ok) io.result = this.result;
  }

  async close(): Promise<void> {}
}

function setup(options: { pool?: number; readOnly?: boolean } = {}) {
  const device = new Slow();
  const table = new NamespaceTable(() => device);
  const namespace = { nsid: 1, instance: 1, blockSize: BLOCK, blockCount: BLOCKS, readOnly: options.readOnly ?? false };
  const rest = { volatileWriteCache: true, thin: false, anaGroupId: 1, pathStatus: 0, device: null };
  table.update({ nqn: 'x', portId: 1, version: 1, namespaces: [{ ...namespace, ...rest }] });
  const peer = new Peer({}, options.pool, new IoCommands(table, new IoCounters())).handshake({}, 16);
  return { device, table, peer };
}

const COMPARE = IoOpcode.Compare;
const WRITE = IoOpcode.Write;
const zeroes = new Uint8Array(BLOCK);
const data = pattern(BLOCK);
const answers = (seen: Seen[]): unknown[] =>
  seen.filter(({ type }) => type === PduType.CapsuleResp).map((one) => [one.values.cid, status(one)]);
const FAILED = Status.FailedFusedCommand;
const MISSING = Status.MissingFusedCommand;

test('Compare and Write: writes when equal, changes nothing when not, both end in order', () => {
  const { device, peer } = setup();
  peer.send(peer.capsule(1, COMPARE, { slba: 3, fuse: 1 }, zeroes));
  assert.deepEqual(answers(peer.poll()), [], 'alone it does not run');
  peer.send(peer.capsule(2, WRITE, { slba: 3, fuse: 2 }, data));
  assert.deepEqual(answers(peer.poll()), [
    [1, 0],
    [2, 0],
  ]);
  peer.send(peer.capsule(1, COMPARE, { slba: 3, fuse: 1 }, zeroes));
  peer.send(peer.capsule(2, WRITE, { slba: 3, fuse: 2 }, zeroes));
  peer.send(peer.capsule(3, COMPARE, { slba: 3 }, data));
  assert.deepEqual(answers(peer.poll()), [
    [1, Status.CompareFailure],
    [2, FAILED],
    [3, 0],
  ]);
  assert.deepEqual(device.ops, [IoOp.CompareAndWrite, IoOp.CompareAndWrite, IoOp.Read]);
  assert.deepEqual([peer.queue.outstanding, peer.pool.loanedBytes], [0, 0]);
});

test('the data of either half may come by R2T, in any order', () => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    for (const [first, second] of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      const { peer } = setup();
      const half = (cid: number, opcode: number, inCapsule: boolean, bytes: Uint8Array): void =>
        peer.send(
          inCapsule
            ? peer.capsule(cid, opcode, { slba: 1, fuse: cid }, bytes)
            : peer.capsule(cid, opcode, { slba: 1, fuse: cid, sglLength: BLOCK }),
        );
      half(1, COMPARE, first, zeroes);
      half(2, WRITE, second, data);
      peer.send(peer.capsule(9, IoOpcode.Flush, {}));
      const seen = peer.poll();
      assert.deepEqual(answers(seen), [[9, 0]], 'others pass');
      for (const cid of order) {
        const r2t = seen.find((one) => one.type === PduType.R2T && one.values.cccid === cid);
        if (r2t !== undefined) {
          peer.send(peer.h2c(cid, r2t.values.ttag as number, 0, cid === 1 ? zeroes : data));
        }
      }
      assert.deepEqual(answers(peer.poll()), [
        [1, 0],
        [2, 0],
      ]);
      assert.equal(peer.pool.loanedBytes, 0);
    }
  }
});

test('a half without its partner is a Missing Fused Command and does not run', () => {
  const { device, peer } = setup();
  peer.send(peer.capsule(1, WRITE, { slba: 0, fuse: 2 }, data));
  assert.deepEqual(answers(peer.poll()), [[1, MISSING]]);
  peer.send(peer.capsule(1, COMPARE, { slba: 0, fuse: 1 }, zeroes));
  peer.send(peer.capsule(2, IoOpcode.Flush, {}));
  assert.deepEqual(
    answers(peer.poll()),
    [
      [1, MISSING],
      [2, 0],
    ],
    'another command came in between',
  );
  peer.send(peer.capsule(1, COMPARE, { slba: 0, fuse: 1, sglLength: BLOCK }));
  peer.send(peer.capsule(2, COMPARE, { slba: 0, fuse: 1 }, zeroes));
  peer.send(peer.capsule(3, WRITE, { slba: 0, fuse: 2 }, data));
  const seen = peer.poll();
  assert.deepEqual(answers(seen), [
    [2, 0],
    [3, 0],
  ]);
  peer.send(peer.h2c(1, seen.find(({ type }) => type === PduType.R2T)!.values.ttag as number, 0, zeroes));
  assert.deepEqual(answers(peer.poll()), [[1, MISSING]], 'not before its data is there');
  assert.deepEqual(device.ops, [IoOp.Flush, IoOp.CompareAndWrite]);
});

test('a half that is refused takes the other one with it', () => {
  const cases: [string, [number, Record<string, number>], [number, Record<string, number>], number, number][] = [
    ['other opcodes', [WRITE, {}], [COMPARE, {}], Status.InvalidField, FAILED],
    ['a second half that is no Write', [COMPARE, {}], [COMPARE, {}], FAILED, Status.InvalidField],
    ['another block', [COMPARE, { slba: 1 }], [WRITE, {}], Status.InvalidField, FAILED],
    ['another namespace', [COMPARE, {}], [WRITE, { nsid: 2 }], FAILED, Status.InvalidNamespaceOrFormat],
    ['behind the end', [COMPARE, { slba: 16 }], [WRITE, { slba: 16 }], Status.LbaOutOfRange, FAILED],
    ['two blocks', [COMPARE, { nlb: 1 }], [WRITE, { nlb: 1 }], Status.AtomicWriteUnitExceeded, FAILED],
    ['a descriptor that is too short', [COMPARE, {}], [WRITE, { nlb: 1 }], FAILED, Status.AtomicWriteUnitExceeded],
  ];
  for (const [name, [op1, fields1], [op2, fields2], status1, status2] of cases) {
    const { device, peer } = setup();
    peer.send(peer.capsule(1, op1, { fuse: 1, ...fields1 }, new Uint8Array(2 * BLOCK)));
    peer.send(peer.capsule(2, op2, { fuse: 2, ...fields2 }, new Uint8Array(2 * BLOCK)));
    const expected = [
      [1, status1],
      [2, status2],
    ];
    assert.deepEqual(answers(peer.poll()), expected, name);
    assert.deepEqual([device.ops.length, peer.pool.loanedBytes], [0, 0], name);
  }
  const { peer } = setup({ readOnly: true });
  peer.send(peer.capsule(1, COMPARE, { fuse: 1 }, zeroes));
  peer.send(peer.capsule(2, WRITE, { fuse: 2 }, data));
  assert.deepEqual(answers(peer.poll()), [
    [1, FAILED],
    [2, Status.NamespaceIsWriteProtected],
  ]);
});

test('FUSE 3, and FUSE where nothing is fused, is an invalid field', () => {
  const { peer } = setup();
  peer.send(peer.capsule(1, COMPARE, { fuse: 3 }, zeroes));
  assert.deepEqual(answers(peer.poll()), [[1, Status.InvalidField]]);
  const other = new Peer().handshake();
  for (const fuse of [1, 2]) {
    other.send(other.capsule(fuse, WRITE, { fuse }, data));
    assert.deepEqual(answers(other.poll()), [[fuse, Status.InvalidField]]);
  }
});

test('a device that cannot do it, or fails', () => {
  const { device, peer } = setup();
  const run = (): unknown[] => {
    peer.send(peer.capsule(1, COMPARE, { fuse: 1 }, zeroes));
    peer.send(peer.capsule(2, WRITE, { fuse: 2 }, zeroes));
    return answers(peer.poll()).map((answer) => (answer as number[])[1]);
  };
  device.result = IoResult.Unreadable;
  assert.deepEqual(run(), [Status.UnrecoveredReadError, FAILED]);
  device.result = IoResult.MediaError;
  assert.deepEqual(run(), [0, Status.WriteFault]);
  device.compareAndWrite = false;
  assert.deepEqual(run(), [Status.InvalidField, FAILED]);
});

test('a snapshot that comes between the halves holds for both', () => {
  const { peer, table } = setup();
  peer.send(peer.capsule(1, COMPARE, { fuse: 1 }, zeroes));
  const [entry] = [...table.entries()];
  table.update({ nqn: 'x', portId: 1, version: 2, namespaces: [{ ...entry!.snapshot, pathStatus: 0x303 }] });
  peer.send(peer.capsule(2, WRITE, { fuse: 2 }, data));
  assert.deepEqual(answers(peer.poll()), [
    [1, FAILED],
    [2, Status.AnaTransition],
  ]);
});

test('halves that wait give everything back when the connection ends, and hold up no memory of others', () => {
  const { device, peer } = setup({ pool: 1024 });
  peer.send(peer.capsule(1, COMPARE, { fuse: 1 }, zeroes));
  peer.send(peer.capsule(2, WRITE, { fuse: 2, sglLength: BLOCK }));
  peer.send(peer.capsule(3, COMPARE, { fuse: 1 }, zeroes));
  peer.send(peer.capsule(4, WRITE, { fuse: 2, sglLength: BLOCK }));
  assert.equal(peer.poll().filter(({ type }) => type === PduType.R2T).length, 2, 'no second half waits for memory');
  assert.equal(peer.queue.congested, false, 'what waits for the host does not stop it from sending');
  device.later = true;
  peer.send(peer.capsule(5, COMPARE, { fuse: 1 }, zeroes));
  peer.send(peer.capsule(6, WRITE, { fuse: 2 }, zeroes));
  peer.queue.closed();
  assert.equal(peer.queue.outstanding, 2, 'the device works for two of them');
  device.finish();
  assert.deepEqual([peer.queue.outstanding, peer.pool.loanedBytes], [0, 0]);
});

test('a damaged half is no half', () => {
  const { device, peer } = setup();
  const damaged = new Peer({}, 1 << 20, peer.commands).handshake({ ddgst: 1 });
  const capsule = damaged.capsule(1, COMPARE, { fuse: 1 }, zeroes);
  capsule[capsule.length - 1]! ^= 1;
  damaged.send(capsule);
  damaged.send(damaged.capsule(2, WRITE, { fuse: 2 }, data));
  assert.deepEqual(answers(damaged.poll()), [
    [1, Status.TransientTransportError],
    [2, FAILED],
  ]);
  assert.deepEqual(device.ops, []);
});
