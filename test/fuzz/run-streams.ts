/*
 * Gives mutated sessions to a target and watches it: it must neither throw nor hang nor grow, answer only whole PDUs,
 * and give up exactly the streams that are wrong, with the right words. A process of its own, started by
 * fuzz.test.ts:  node --expose-gc run-streams.ts SEED STREAMS [FIRST]
 */
import assert from 'node:assert/strict';
import { Memory, Rng } from '@nvbraid/base';
import { IN_CAPSULE_BYTES, MAX_H2C_DATA_BYTES } from '@nvbraid/target';
import { type Reply, ReplyReader } from '../support/replies.ts';
import { FuzzTarget, NQN } from './fuzz-target.ts';
import { mutate } from './mutate.ts';
import { type Association, openAssociation, recordSessions, replay, type Session } from './sessions.ts';
import { StreamOracle } from './stream-oracle.ts';

export interface FuzzResult {
  streams: number;
  bytes: number;
  /** Streams that ended with a C2HTermReq, by fatal error status. */
  fatal: Record<number, number>;
  /** Streams that the host ended with H2CTermReq. */
  ended: number;
  /** Streams that left the connection as it was. */
  alive: number;
  /** Completions by status. */
  statuses: number;
  commands: number;
  /** Growth of all memory from the first fifth of the streams to their end, after garbage collection, in bytes. */
  growth: number;
}

/** Turns of the event loop that devices get to finish. */
const TURNS = 10_000;

const seed = Number(process.argv[2]);
const streams = Number(process.argv[3]);
const first = Number(process.argv[4] ?? 0);
const rng = new Rng(seed);
const target = await FuzzTarget.make();
const sessions = recordSessions(target, rng);
assert.equal(target.pool.loanedBytes, 0, 'the recorded sessions leave no memory on loan');
assert.equal(target.core.controllerCount, 0);
const result: FuzzResult = {
  ...{ streams, bytes: 0, fatal: {}, ended: 0, alive: 0, statuses: 0, commands: 0, growth: 0 },
};
const statuses = new Set<number>();
let association: Association | null = null;
let baseline = 0;

for (let i = first; i < first + streams; i++) {
  try {
    await stream(new Rng((seed + Math.imul(i, 0x9e3779b1)) >>> 0));
  } catch (error) {
    console.error(`stream ${i} of seed ${seed}: node --expose-gc ${process.argv[1]} ${seed} 1 ${i}`);
    throw error;
  }
  if (i === first + Math.floor(streams / 5)) baseline = memoryInUse();
}
if (streams >= 5) result.growth = memoryInUse() - baseline;
result.statuses = statuses.size;
console.log(JSON.stringify(result));

async function stream(rng: Rng): Promise<void> {
  const session = rng.pick(sessions);
  const cntlid = session.kind === 'io' ? currentAssociation().cntlid : 0;
  const others = (): Uint8Array[] => rng.pick(sessions).pdus;
  const bytes = mutate(replay(session, cntlid), session.agreed, rng, others);
  result.bytes += bytes.length;
  const controllers = target.core.controllerCount;
  const connection = target.open(session.options);
  const oracle = new StreamOracle({
    cpda: session.options.cpda!,
    inCapsuleBytes: IN_CAPSULE_BYTES,
    maxH2CDataBytes: session.options.maxH2CDataBytes ?? MAX_H2C_DATA_BYTES,
  });
  const reader = new ReplyReader();
  const memory = Memory.over(bytes);
  const direct = rng.chance(0.5);
  const longest = rng.pick([16, 200, 4000, bytes.length]);
  let at = 0;
  while (at < bytes.length && connection.queue.state !== 'closing') {
    const end = Math.min(bytes.length, at + rng.between(1, Math.max(1, longest)));
    oracle.give(bytes, at, end);
    connection.give(memory, at, end, direct);
    const replies = connection.take().flatMap((part) => {
      reader.framer.dataAlign = oracle.hostAlign;
      return reader.read(part);
    });
    check(session, oracle, replies, connection.queue.state, connection.queue.outstanding);
    at = end;
  }
  if (connection.queue.state === 'open' || connection.queue.state === 'ic') result.alive++;
  connection.close();
  // Long zeroing goes on for a few turns after the queue is gone.
  for (let turn = 0; turn < TURNS && connection.queue.qid > 0 && connection.queue.outstanding > 0; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Async Event Requests of a controller that is gone have no answer.
  if (connection.queue.qid > 0)
    assert.equal(connection.queue.outstanding, 0, `${session.name}: commands are left behind`);
  assert.equal(target.pool.loanedBytes, 0, 'payload memory is left behind');
  assert.ok(target.core.controllerCount <= controllers, 'a controller is left behind');
  target.clock.advance(1);
  target.core.tick();
}

function check(session: Session, oracle: StreamOracle, replies: Reply[], state: string, outstanding: number): void {
  let term: Extract<Reply, { kind: 'TermReq' }> | null = null;
  for (const reply of replies) {
    assert.equal(term, null, `${session.name}: ${reply.kind} after a TermReq`);
    if (reply.kind === 'TermReq') term = reply;
    if (reply.kind === 'Completion') {
      statuses.add(reply.status);
      result.commands++;
    }
    const complaint = oracle.reply(reply);
    assert.equal(complaint, null, `${session.name}: ${complaint}`);
  }
  const wanted = [...oracle.must];
  if (term !== null) {
    const right = [...wanted, ...oracle.may];
    assert.ok(
      right.includes(term.fes),
      `${session.name}: TermReq ${term.fes}, right would be ${right.join(' ') || 'none'} ${oracle.place}`,
    );
    assert.equal(state, 'closing');
    result.fatal[term.fes] = (result.fatal[term.fes] ?? 0) + 1;
    return;
  }
  assert.equal(wanted.length, 0, `${session.name}: no TermReq, though ${wanted.join(' or ')} is due ${oracle.place}`);
  if (oracle.ended) {
    assert.equal(state, 'closing', `${session.name}: the host has said goodbye`);
    result.ended++;
    return;
  }
  assert.ok(state === 'open' || state === 'ic', `${session.name}: ${state} without a word`);
  assert.equal(outstanding, oracle.outstanding, `${session.name}: commands under way`);
}

/** I/O queues join one controller as long as it lives. */
function currentAssociation(): Association {
  if (association !== null && target.core.subsystem(NQN)!.controllers.get(association.cntlid) !== undefined) {
    return association;
  }
  association = openAssociation(target);
  return association;
}

function memoryInUse(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
