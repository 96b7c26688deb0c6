import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Memory } from '@nvbraid/base';
import { fileDevice, memoryDevice } from '@nvbraid/blockdev';
import type { ReservationSnapshot, SubsystemSnapshot } from '@nvbraid/target';
import {
  ChangePtpl,
  CQE_STATUS_OFFSET,
  Cqe,
  DNR,
  H2CData,
  IoOpcode,
  PduFlag,
  PduType,
  R2T,
  Sqe,
  Status,
} from '@nvbraid/wire';
import { drivenPlane, snapshot } from './support/driven-plane.ts';
import { HeldDevice } from './support/held-device.ts';
import { capsule, rw } from './support/raw-peer.ts';
import { outcome, Reserving } from './support/reserving.ts';

/* What `DataPlane.drain` waits for, and what it does not; how commands that wait meet a reservation. */

const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-drain-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const { Read, Write } = IoOpcode;
const CONFLICT = Status.ReservationConflict | DNR;

/** The snapshot with a reservation of somebody else on its first namespace. */
function reserved(from: SubsystemSnapshot, rtype: ReservationSnapshot['rtype']): SubsystemSnapshot {
  const reservation = { rtype, holder: 'somebody', registrants: ['somebody'] };
  const [first, ...rest] = from.namespaces;
  return { ...from, version: from.version + 1, namespaces: [{ ...first!, reservation }, ...rest] };
}

function ofNamespace(nsid: number, bytes: Uint8Array): Uint8Array {
  Buffer.from(bytes.buffer, bytes.byteOffset).writeUInt32LE(nsid, 8 + 4);
  return bytes;
}

/** Whether a promise has been fulfilled by now. */
async function fulfilled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(() => {
    done = true;
  });
  for (let i = 0; i < 5; i++) await turn();
  return done;
}

/** Statuses by cid of the responses among what was sent. */
function statuses(sent: readonly Uint8Array[]): Map<number, number> {
  const bytes = Buffer.concat(sent);
  const found = new Map<number, number>();
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes[at] !== PduType.CapsuleResp) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at + 8);
    found.set(Cqe.cid.get(view, 0), view.getUint16(CQE_STATUS_OFFSET, true) >> 1);
  }
  return found;
}

test('drain waits for what is executing on the namespace, on every queue, and for nothing that starts later', async () => {
  const [one, two] = [new HeldDevice(), new HeldDevice()];
  const { plane, adopt } = drivenPlane();
  const all = snapshot([one, two]);
  plane.update(all);
  const { instance } = all.namespaces[0]!;
  const [a, b] = [adopt(1), adopt(2)];
  assert.ok(await fulfilled(plane.drain(instance)), 'nothing is executing');
  a.receive(rw(Write, 1, 0, 1, new Uint8Array(4096)));
  b.receive(rw(Read, 1, 0, 1));
  b.receive(ofNamespace(2, rw(Read, 2, 0, 1)));
  assert.deepEqual([one.held.length, two.held.length], [2, 1]);
  const first = plane.drain(instance);
  const second = plane.drain(instance);
  a.receive(rw(Read, 2, 0, 1));
  one.finish(1);
  assert.equal(await fulfilled(first), false);
  one.finish(1);
  assert.deepEqual([await fulfilled(first), await fulfilled(second)], [true, true]);
  assert.deepEqual([one.held.length, two.held.length], [1, 1], 'the later one, and the other namespace');
  const third = plane.drain(instance);
  a.handler!.closed(null);
  assert.equal(await fulfilled(third), false, 'the device still works for a queue that is gone');
  one.finish();
  assert.ok(await fulfilled(third));
  two.finish();
});

test('a write that waits for its data meets the reservation that has come meanwhile', async () => {
  const device = new HeldDevice();
  const { plane, adopt } = drivenPlane();
  const before = snapshot([device]);
  plane.update(before);
  const connection = adopt(1);
  connection.receive(rw(Write, 7, 0, 1));
  const r2t = Buffer.from(connection.sent.at(-1)!);
  assert.equal(r2t[0], PduType.R2T);
  plane.update(reserved(before, 1));
  assert.ok(await fulfilled(plane.drain(before.namespaces[0]!.instance)), 'it is not executing');
  const data = Buffer.alloc(24 + 4096);
  H2CData.emit(Memory.over(data).view, 0, {
    pduType: PduType.H2CData,
    flags: PduFlag.LAST_PDU,
    hlen: 24,
    pdo: 24,
    plen: data.length,
    cccid: 7,
    ttag: R2T.ttag.get(Memory.over(r2t).view, 0),
    datao: 0,
    datal: 4096,
  });
  connection.receive(data);
  assert.equal(statuses(connection.sent).get(7), CONFLICT);
  assert.equal(device.submitted, 0);
});

test('commands that wait for memory meet it too', async () => {
  const device = new HeldDevice();
  const { plane, adopt } = drivenPlane({ poolBytes: 64 * 1024 });
  const before = snapshot([device]);
  plane.update(before);
  const connection = adopt(1);
  for (let cid = 0; cid < 2; cid++) connection.receive(rw(Read, cid, 0, 16)); // the second finds no memory
  plane.update(reserved(before, 2));
  const drained = plane.drain(before.namespaces[0]!.instance);
  assert.equal(await fulfilled(drained), false);
  device.finish();
  assert.ok(await fulfilled(drained));
  const found = statuses(connection.sent);
  assert.deepEqual([found.get(0), found.get(1)], [0, CONFLICT]);
  assert.equal(device.submitted, 1);
});

test('a read that is done takes no data any more that the reservation hides from its host', async () => {
  const { plane, adopt } = drivenPlane();
  const before = snapshot([memoryDevice({ size: 64 * 4096, blockSize: 4096 })]);
  plane.update(before);
  const connection = adopt(1);
  for (const [rtype, expected] of [
    [1, 0],
    [2, CONFLICT],
  ] as const) {
    plane.update({ ...before, version: before.version + 2 * rtype });
    (connection as { backlogBytes: number }).backlogBytes = 1; // the kernel takes no more
    connection.receive(rw(Read, rtype, 0, 1));
    connection.sent.length = 0;
    const now = reserved({ ...before, version: before.version + 2 * rtype }, rtype);
    plane.update(now);
    assert.ok(await fulfilled(plane.drain(now.namespaces[0]!.instance)), 'the host may never take it');
    (connection as { backlogBytes: number }).backlogBytes = 0;
    connection.handler!.drained();
    assert.equal(statuses(connection.sent).get(rtype), expected, `type ${rtype}`);
  }
});

test('a broadcast Flush of a host that may not flush all: none is flushed', () => {
  const [one, two] = [new HeldDevice(), new HeldDevice()];
  const { plane, adopt } = drivenPlane();
  const before = snapshot([one, two]);
  plane.update(reserved(before, 1));
  const connection = adopt(1);
  connection.receive(ofNamespace(0xffffffff, capsule(Sqe.toBytes({ opc: IoOpcode.Flush, cid: 3, psdt: 1 }))));
  assert.equal(statuses(connection.sent).get(3), CONFLICT);
  connection.receive(ofNamespace(2, capsule(Sqe.toBytes({ opc: IoOpcode.Flush, cid: 4, psdt: 1 }))));
  assert.deepEqual([one.submitted, two.submitted], [0, 1]);
  two.finish();
});

test('reactors that die under reservation commands: each command ends, the state is whole, nobody waits for them', async () => {
  const path = join(scratch, 'disk');
  const device = fileDevice({ path, size: 64 * 4096, create: true });
  const world = await Reserving.start(2, device);
  const [a, b] = [await world.host('a', { reconnectDelay: 1 }), await world.host('b', { reconnectDelay: 1 })];
  await a.register({ cptpl: ChangePtpl.Set });
  await b.register();
  const ends = Array.from({ length: 40 }, (_, i) => {
    const command = i % 2 === 0 ? a.acquire(1) : b.acquire(1);
    return command.then(
      () => 'ok',
      (error: Error) => error.message,
    );
  });
  await turn();
  // What no snapshot is kills the thread that applies it.
  world.target.core.hooks.unlinked!(null as never);
  await Promise.all(ends);
  await Promise.all([a, b].map(({ disk }) => disk.read(0, Buffer.alloc(4096))));
  assert.match(world.logged.join('\n'), /reactor [01] failed.*reactor [01] failed/s);
  const { rtype, registrants } = await b.disk.resvReport();
  assert.equal(registrants.length, 2);
  const holders = registrants.filter(({ holder }) => holder);
  assert.equal(holders.length, rtype === 0 ? 0 : 1);
  if (rtype === 0) await a.acquire(1);
  const winner = rtype === 0 || holders[0]!.hostid === a.hostid ? a : b;
  const loser = winner === a ? b : a;
  await loser.preempt(2, winner.key);
  assert.equal(await outcome(winner.disk.read(0, Buffer.alloc(4096))), 'conflict');
  await world.close();
});
