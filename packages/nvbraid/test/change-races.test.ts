import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { fileDevice } from '@nvbraid/blockdev';
import { AnaState, IoOpcode, Status } from '@nvbraid/wire';
import { createTarget, type Target } from '../src/target.ts';
import { until } from './support/fault-story.ts';
import { RawPeer, rw } from './support/raw-peer.ts';

/*
 * Everything that can be changed while I/O runs, changed on the main thread: a command that is sent after the change
 * was acknowledged meets it, on whichever queue of whichever host, in whichever thread. Hosts here look at nothing
 * first and send what they like, so that only the target can refuse.
 */

const NQN = 'nqn.2026-01.org.nvbraid:races';
const A = 'nqn.2026-01.org.nvbraid:host-a';
const B = 'nqn.2026-01.org.nvbraid:host-b';
const QUEUES = 4;
const BLOCK = 4096;
const LARGE = 64;
const SMALL = 32;
const PROBE = 1;
const NOISE = 100;
const { Read, Write } = IoOpcode;
const scratch = mkdtempSync(join(tmpdir(), 'nvbraid-races-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const ends: (() => Promise<void>)[] = [];
/** Also of a test that has failed: the process must end. */
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

interface Queue {
  readonly host: string;
  readonly peer: RawPeer;
}

interface Races {
  readonly target: Target;
  readonly path: string;
  readonly queues: Queue[];
  attach(host: string): Promise<void>;
}

async function races(reactors: number): Promise<Races> {
  const path = join(scratch, `${reactors}.img`);
  const target = await createTarget({ reactors });
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, {
    nsid: 1,
    device: fileDevice({ path, size: LARGE * BLOCK, create: true, blockSize: BLOCK }),
    filters: [{ kind: 'error', name: 'broken', ops: 'all', enabled: false }],
  });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const queues: Queue[] = [];
  const peers: RawPeer[] = [];
  const attach = async (host: string): Promise<void> => {
    const { admin, cntlid } = await RawPeer.admin(port, NQN, host);
    peers.push(admin);
    for (let qid = 1; qid <= QUEUES; qid++)
      queues.push({ host, peer: await RawPeer.io(port, NQN, cntlid, qid, 127, host) });
  };
  await attach(A);
  await attach(B);
  ends.push(async () => {
    for (const { peer } of queues) peer.reset();
    for (const peer of peers) peer.reset();
    await target.close();
  });
  return { target, path, queues, attach };
}

const block = Buffer.alloc(BLOCK, 0x5a);
const command = (opcode: number, cid: number, slba: number): Uint8Array =>
  opcode === Write ? rw(Write, cid, slba, 1, block) : rw(Read, cid, slba, 1);

/** The status of command `cid`; what becomes of the others is not the question. */
async function statusOf(peer: RawPeer, cid: number): Promise<number> {
  let answer = await peer.response();
  while (answer.cid !== cid) answer = await peer.response();
  return answer.status;
}

/**
 * All queues are given work, then the change is made, then each is given one more command.
 * @returns by host, the statuses of those commands
 */
async function changing(at: Races, change: () => unknown, opcode: number, slba = 0): Promise<Record<string, number[]>> {
  for (const { peer } of at.queues) {
    for (let i = 0; i < 8; i++) peer.write(command(i % 2 === 0 ? Read : Write, NOISE + i, 8 + i));
  }
  await change();
  for (const { peer } of at.queues) peer.write(command(opcode, PROBE, slba));
  const statuses: Record<string, number[]> = {};
  for (const { host, peer } of at.queues) (statuses[host] ??= []).push(await statusOf(peer, PROBE));
  // What has not been answered yet is answered before the next round.
  for (const { peer } of at.queues) peer.write(command(Read, PROBE + 1, 0));
  for (const { peer } of at.queues) await statusOf(peer, PROBE + 1);
  return statuses;
}

const all = (status: number): number[] => Array.from({ length: QUEUES }, () => status);
const both = (status: number): Record<string, number[]> => ({ [A]: all(status), [B]: all(status) });

for (const reactors of [0, 1, 2]) {
  test(`every change holds for the next command of every queue, ${reactors} reactors`, async () => {
    const at = await races(reactors);
    const { target, path } = at;
    const core = target.core.subsystem(NQN)!;
    const port = [...target.core.ports][0]!;
    const broken = target.filters(NQN, 1);
    const resize = (blocks: number) => (): Promise<number> => {
      truncateSync(path, blocks * BLOCK);
      return target.revalidateNamespace(NQN, 1);
    };
    const changes: [what: string, () => unknown, opcode: number, slba: number, Record<string, number[]>][] = [
      ['read-only', () => core.setReadOnly(1, true), Write, 0, both(Status.NamespaceIsWriteProtected)],
      ['writable', () => core.setReadOnly(1, false), Write, 0, both(0)],
      ['inaccessible', () => port.setAnaState(1, AnaState.Inaccessible), Read, 0, both(Status.AnaInaccessible)],
      ['lost', () => port.setAnaState(1, AnaState.PersistentLoss), Read, 0, both(Status.AnaPersistentLoss)],
      ['changing', () => port.setAnaState(1, AnaState.Change), Read, 0, both(Status.AnaTransition)],
      ['optimized', () => port.setAnaState(1, AnaState.Optimized), Read, 0, both(0)],
      ['smaller', resize(SMALL), Write, SMALL, both(Status.LbaOutOfRange)],
      ['larger', resize(LARGE), Write, LARGE - 1, both(0)],
      [
        'shown to A alone',
        () => core.setVisibility(1, [A]),
        Write,
        0,
        { [A]: all(0), [B]: all(Status.InvalidNamespaceOrFormat) },
      ],
      ['shown to B again', () => core.attachHost(1, B), Write, 0, both(0)],
      [
        'hidden from A',
        () => core.detachHost(1, A),
        Write,
        0,
        { [A]: all(Status.InvalidNamespaceOrFormat), [B]: all(0) },
      ],
      ['shown to all', () => core.setVisibility(1, null), Write, 0, both(0)],
      ['broken', () => broken.set('broken', { enabled: true }), Read, 0, both(Status.UnrecoveredReadError)],
      ['whole', () => broken.set('broken', { enabled: false }), Read, 0, both(0)],
    ];
    for (let round = 0; round < 12; round++) {
      for (const [what, change, opcode, slba, expected] of changes) {
        assert.deepEqual(await changing(at, change, opcode, slba), expected, `round ${round}: ${what}`);
      }
    }
  });

  test(`a protocol fault holds for the next PDU of every queue, ${reactors} reactors`, async () => {
    const at = await races(reactors);
    const { faults } = at.target;
    for (let round = 0; round < 12; round++) {
      const { id } = faults.add({ action: 'stall', pdu: 'CapsuleCmd', opcode: 'write' });
      for (const { peer } of at.queues) peer.write(command(Write, PROBE, 0));
      await until('all writes are held', () => faults.get(id).hits === at.queues.length);
      faults.remove(id);
      for (const { peer } of at.queues) assert.equal(await statusOf(peer, PROBE), 0);
      assert.deepEqual(await changing(at, () => {}, Write), both(0), 'and for none after it was removed');
    }
  });

  test(`a host that may not connect any more gets no further answer on any queue, ${reactors} reactors`, async () => {
    const at = await races(reactors);
    const core = at.target.core.subsystem(NQN)!;
    for (let round = 0; round < 6; round++) {
      for (const { peer } of at.queues) {
        for (let i = 0; i < 8; i++) peer.write(command(Read, NOISE + i, i));
      }
      core.setAccess(false, [A]);
      for (const { peer } of at.queues) peer.write(command(Write, PROBE, 0));
      for (const { host, peer } of at.queues) {
        if (host === A) assert.equal(await statusOf(peer, PROBE), 0, 'nothing has changed for the other host');
        else await assert.rejects(statusOf(peer, PROBE), /hung up/, `round ${round}`);
      }
      core.setAccess(round % 2 === 0, round % 2 === 0 ? [] : [A, B]);
      at.queues.splice(0, at.queues.length, ...at.queues.filter(({ host }) => host === A));
      await at.attach(B);
      assert.deepEqual(await changing(at, () => {}, Write), both(0), 'and is served when it may connect again');
    }
  });
}
