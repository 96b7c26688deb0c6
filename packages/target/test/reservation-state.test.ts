import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@nvbraid/base';
import { DNR, Status } from '@nvbraid/wire';
import {
  Access,
  holds,
  MAX_REGISTRANTS,
  NO_RESERVATIONS,
  type ReservationCommand,
  ReservationGate,
  type ReservationState,
  reservationSnapshot,
  runReservationCommand,
} from '../src/index.ts';
import { ReservationModel } from './support/reservation-model.ts';

const CONFLICT = Status.ReservationConflict | DNR;
const INVALID = Status.InvalidField | DNR;

type Register = Extract<ReservationCommand, { kind: 'register' }>;
type Acquire = Extract<ReservationCommand, { kind: 'acquire' }>;
type Release = Extract<ReservationCommand, { kind: 'release' }>;

function register(values: Partial<Register>): Register {
  return { kind: 'register', rrega: 0, iekey: 0, cptpl: 0, crkey: 0n, nrkey: 0n, ...values };
}

function acquire(values: Partial<Acquire>): Acquire {
  return { kind: 'acquire', racqa: 0, iekey: 0, rtype: 1, crkey: 0n, prkey: 0n, ...values };
}

function release(values: Partial<Release>): Release {
  return { kind: 'release', rrela: 0, iekey: 0, rtype: 1, crkey: 0n, ...values };
}

/** A namespace on which commands are run one after the other. */
class Bench {
  state: ReservationState = NO_RESERVATIONS;
  told: string[] = [];
  persistent = true;

  run(hostid: string, command: ReservationCommand): number {
    const outcome = runReservationCommand(this.state, hostid, command, this.persistent);
    if (outcome.status !== 0) {
      assert.equal(outcome.state, this.state, 'a refused command changes nothing');
      assert.deepEqual(outcome.notices, []);
    }
    this.state = outcome.state;
    this.told = outcome.notices.map(({ hostid: to, what }) => `${to} ${what}`);
    return outcome.status;
  }

  ok(hostid: string, command: ReservationCommand, told: readonly string[] = []): void {
    assert.equal(
      this.run(hostid, command),
      0,
      JSON.stringify(command, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
    );
    assert.deepEqual(this.told, told);
  }

  /** A, B and C with keys 1, 2 and 3; A holds the type. */
  static held(rtype: number): Bench {
    const bench = new Bench();
    bench.ok('A', register({ nrkey: 1n }));
    bench.ok('B', register({ nrkey: 2n }));
    bench.ok('C', register({ nrkey: 3n }));
    bench.ok('A', acquire({ crkey: 1n, rtype }));
    return bench;
  }

  get keys(): string {
    return [...this.state.registrants].map(([hostid, key]) => `${hostid}${key}`).join(' ');
  }
}

test('registering: once with one key, again with the same, never with another', () => {
  const bench = new Bench();
  bench.ok('A', register({ nrkey: 1n }));
  bench.ok('A', register({ nrkey: 1n }));
  assert.equal(bench.run('A', register({ nrkey: 2n })), CONFLICT);
  assert.equal(bench.run('A', register({ nrkey: 2n, iekey: 1 })), CONFLICT);
  bench.ok('B', register({ nrkey: 1n }));
  assert.equal(bench.keys, 'A1 B1', 'hosts may have the same key');
  assert.equal(bench.state.generation, 3, 'each success counts');
  assert.equal(bench.run('A', register({ rrega: 3 })), INVALID);
});

test('replacing a key', () => {
  const bench = Bench.held(1);
  assert.equal(bench.run('A', register({ rrega: 2, crkey: 9n, nrkey: 5n })), CONFLICT);
  bench.ok('A', register({ rrega: 2, crkey: 1n, nrkey: 5n }));
  bench.ok('A', register({ rrega: 2, crkey: 9n, iekey: 1, nrkey: 6n }));
  assert.ok(holds(bench.state, 'A'), 'the reservation stays');
  assert.equal(bench.run('D', register({ rrega: 2, nrkey: 4n })), CONFLICT, 'not a registrant');
  bench.ok('D', register({ rrega: 2, iekey: 1, nrkey: 4n }));
  assert.equal(bench.keys, 'A6 B2 C3 D4', 'without regard to its registration status');
});

test('unregistering', () => {
  const bench = Bench.held(1);
  assert.equal(bench.run('D', register({ rrega: 1, iekey: 1 })), CONFLICT);
  assert.equal(bench.run('B', register({ rrega: 1, crkey: 9n })), CONFLICT);
  bench.ok('B', register({ rrega: 1, crkey: 2n }));
  bench.ok('C', register({ rrega: 1, iekey: 1 }));
  assert.equal(bench.state.rtype, 1);
  bench.ok('A', register({ rrega: 1, crkey: 1n }));
  assert.equal(bench.state.rtype, 0);
  assert.equal(bench.state.holder, null);
});

test('the holder unregisters: registrants hear of it where they depended on it', () => {
  for (const rtype of [1, 2]) Bench.held(rtype).ok('A', register({ rrega: 1, crkey: 1n }));
  for (const rtype of [3, 4]) {
    const bench = Bench.held(rtype);
    bench.ok('A', register({ rrega: 1, crkey: 1n }), ['B 2', 'C 2']);
    assert.equal(bench.state.rtype, 0);
  }
  for (const rtype of [5, 6]) {
    const bench = Bench.held(rtype);
    bench.ok('A', register({ rrega: 1, crkey: 1n }));
    bench.ok('B', register({ rrega: 1, crkey: 2n }));
    assert.equal(bench.state.rtype, rtype, 'held by those who are left');
    bench.ok('C', register({ rrega: 1, crkey: 3n }));
    assert.equal(bench.state.rtype, 0);
  }
});

test('Persist Through Power Loss is changed by any register action that succeeds', () => {
  const bench = new Bench();
  assert.equal(bench.run('A', register({ nrkey: 1n, cptpl: 1 })), INVALID);
  bench.ok('A', register({ nrkey: 1n, cptpl: 3 }));
  assert.equal(bench.state.ptpl, true);
  assert.equal(bench.run('A', register({ nrkey: 2n, cptpl: 2 })), CONFLICT);
  bench.ok('A', register({ rrega: 2, crkey: 1n, nrkey: 2n }));
  assert.equal(bench.state.ptpl, true);
  bench.ok('A', register({ rrega: 1, crkey: 2n, cptpl: 2 }));
  assert.equal(bench.state.ptpl, false);
  bench.persistent = false;
  assert.equal(bench.run('A', register({ nrkey: 1n, cptpl: 3 })), INVALID, 'there is no place to keep it');
  bench.ok('A', register({ nrkey: 1n, cptpl: 2 }));
});

test('acquiring', () => {
  const bench = new Bench();
  assert.equal(bench.run('A', acquire({})), CONFLICT, 'not a registrant');
  bench.ok('A', register({ nrkey: 1n }));
  assert.equal(bench.run('A', acquire({ crkey: 2n })), CONFLICT);
  assert.equal(bench.run('A', acquire({ crkey: 1n, iekey: 1 })), INVALID);
  for (const rtype of [0, 7, 255]) assert.equal(bench.run('A', acquire({ crkey: 1n, rtype })), INVALID);
  assert.equal(bench.run('A', acquire({ crkey: 1n, racqa: 3 })), INVALID);
  const { generation } = bench.state;
  bench.ok('A', acquire({ crkey: 1n, rtype: 2 }));
  const before = bench.state;
  bench.ok('A', acquire({ crkey: 1n, rtype: 2 }));
  assert.equal(bench.state, before, 'the same type again has no effect');
  assert.equal(bench.run('A', acquire({ crkey: 1n, rtype: 1 })), CONFLICT);
  bench.ok('B', register({ nrkey: 2n }));
  assert.equal(bench.run('B', acquire({ crkey: 2n, rtype: 2 })), CONFLICT);
  assert.equal(bench.state.generation, generation + 1, 'only registering counts');
});

test('every registrant is a holder of the All Registrants types', () => {
  for (const rtype of [5, 6]) {
    const bench = Bench.held(rtype);
    bench.ok('B', acquire({ crkey: 2n, rtype }));
    bench.ok('D', register({ nrkey: 4n }));
    assert.ok(holds(bench.state, 'D'), 'also who comes later');
    assert.equal(bench.run('B', acquire({ crkey: 2n, rtype: 11 - rtype })), CONFLICT);
    bench.ok('C', release({ crkey: 3n, rtype }), ['A 2', 'B 2', 'D 2']);
    assert.equal(bench.state.rtype, 0);
  }
});

test('preempting the holder takes its reservation, its registration and those with the same key', () => {
  const bench = Bench.held(3);
  bench.ok('D', register({ nrkey: 1n }));
  const { generation } = bench.state;
  bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 1n, rtype: 3 }), ['A 1', 'D 1']);
  assert.equal(bench.keys, 'B2 C3');
  assert.equal(bench.state.holder, 'B');
  assert.equal(bench.state.generation, generation + 1);
  bench.ok('C', acquire({ racqa: 2, crkey: 3n, prkey: 2n, rtype: 6 }), ['B 1']);
  assert.equal(bench.state.rtype, 6);
  assert.ok(holds(bench.state, 'C'));
});

test('a preemption that changes the type tells the registrants that are left', () => {
  const bench = Bench.held(1);
  bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 1n, rtype: 2 }), ['A 1', 'C 2']);
});

test('preempting somebody who holds nothing only takes the registration', () => {
  const bench = Bench.held(2);
  bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 3n, rtype: 1 }), ['C 1']);
  assert.equal(bench.state.holder, 'A');
  assert.equal(bench.state.rtype, 2);
  assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 2n, prkey: 3n })), CONFLICT, 'nobody has the key');
  assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 2n, prkey: 0n })), INVALID);
  assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 9n, prkey: 1n })), CONFLICT);
  bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 2n }));
  assert.equal(bench.keys, 'A1', 'who names its own key loses its own registration');
});

test('a holder may preempt itself, to change the type', () => {
  const bench = Bench.held(1);
  bench.ok('D', register({ nrkey: 1n }));
  bench.ok('A', acquire({ racqa: 1, crkey: 1n, prkey: 1n, rtype: 4 }), ['D 1', 'B 2', 'C 2']);
  assert.equal(bench.keys, 'A1 B2 C3');
  assert.equal(bench.state.holder, 'A');
  assert.equal(bench.state.rtype, 4);
});

test('a holder that preempts key 0 changes the type and takes nothing, as with Linux', () => {
  for (const rtype of [1, 2, 3, 4]) {
    const bench = Bench.held(rtype);
    assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 2n, prkey: 0n })), INVALID, 'only the holder may');
    const other = rtype === 4 ? 1 : rtype + 1;
    bench.ok('A', acquire({ racqa: 1, crkey: 1n, prkey: 0n, rtype: other }), ['B 2', 'C 2']);
    assert.deepEqual([bench.keys, bench.state.holder, bench.state.rtype], ['A1 B2 C3', 'A', other]);
    bench.ok('A', acquire({ racqa: 1, crkey: 1n, prkey: 0n, rtype: other }), []);
  }
});

test('preempting where nothing is reserved only takes registrations', () => {
  const bench = Bench.held(1);
  bench.ok('A', release({ crkey: 1n }));
  bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 1n, rtype: 2 }), ['A 1']);
  assert.equal(bench.state.rtype, 0);
  assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 2n, prkey: 0n })), CONFLICT);
});

test('preempting All Registrants types: key 0 means all others, another key its registrants', () => {
  for (const rtype of [5, 6]) {
    const bench = Bench.held(rtype);
    bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 3n, rtype: 1 }), ['C 1']);
    assert.equal(bench.state.rtype, rtype, 'the reservation stays as it is');
    assert.equal(bench.run('B', acquire({ racqa: 1, crkey: 2n, prkey: 3n, rtype: 1 })), CONFLICT);
    bench.ok('B', acquire({ racqa: 1, crkey: 2n, prkey: 0n, rtype: 1 }), ['A 1']);
    assert.equal(bench.keys, 'B2');
    assert.equal(bench.state.rtype, 1);
    assert.equal(bench.state.holder, 'B');
    const alone = new Bench();
    alone.ok('A', register({ nrkey: 1n }));
    alone.ok('A', acquire({ crkey: 1n, rtype }));
    alone.ok('A', acquire({ racqa: 1, crkey: 1n, prkey: 1n, rtype }));
    assert.equal(alone.state.rtype, 0, 'nobody is left to hold it');
  }
});

test('releasing', () => {
  const bench = Bench.held(1);
  assert.equal(bench.run('D', release({})), CONFLICT);
  assert.equal(bench.run('A', release({ crkey: 9n })), CONFLICT);
  assert.equal(bench.run('A', release({ crkey: 1n, iekey: 1 })), INVALID);
  assert.equal(bench.run('A', release({ crkey: 1n, rrela: 2 })), INVALID);
  assert.equal(bench.run('A', release({ crkey: 1n, rtype: 2 })), INVALID, 'another type is held');
  const before = bench.state;
  bench.ok('B', release({ crkey: 2n, rtype: 2 }));
  assert.equal(bench.state, before, 'who holds nothing succeeds without effect');
  bench.ok('A', release({ crkey: 1n }));
  assert.equal(bench.state.generation, before.generation, 'releasing does not count');
  bench.ok('A', release({ crkey: 1n, rtype: 6 }));
  for (const rtype of [3, 4, 5, 6]) Bench.held(rtype).ok('A', release({ crkey: 1n, rtype }), ['B 2', 'C 2']);
});

test('clearing ends everything', () => {
  for (const rtype of [1, 2, 3, 4, 5, 6]) {
    const bench = Bench.held(rtype);
    const { generation } = bench.state;
    assert.equal(bench.run('B', release({ rrela: 1, crkey: 9n })), CONFLICT);
    bench.ok('B', release({ rrela: 1, crkey: 2n, rtype: 0 }), ['A 3', 'C 3']);
    assert.equal(bench.keys, '');
    assert.equal(bench.state.rtype, 0);
    assert.equal(bench.state.generation, generation + 1);
  }
});

test('the generation wraps', () => {
  const bench = new Bench();
  bench.state = { ...NO_RESERVATIONS, generation: 0xffffffff };
  bench.ok('A', register({ nrkey: 1n }));
  assert.equal(bench.state.generation, 0);
});

test('registrants are bounded', () => {
  const bench = new Bench();
  for (let i = 0; i < MAX_REGISTRANTS; i++) bench.ok(`H${i}`, register({ nrkey: 1n }));
  assert.equal(bench.run('X', register({ nrkey: 1n })), Status.InternalError);
  assert.equal(bench.run('X', register({ rrega: 2, iekey: 1, nrkey: 1n })), Status.InternalError);
  bench.ok('H0', register({ nrkey: 1n }));
  bench.ok('H0', register({ rrega: 1, crkey: 1n }));
  bench.ok('X', register({ nrkey: 1n }));
});

test('what each type lets holder, registrants and others do', () => {
  const words = (gate: ReservationGate, hostid: string): string =>
    [Access.None, Access.Read, Access.Write, Access.Flush]
      .map((access) => (gate.allows(hostid, access) ? 'y' : 'n'))
      .join('');
  const expected: Record<number, readonly [string, string, string]> = {
    1: ['yyyy', 'yynn', 'yynn'],
    2: ['yyyy', 'ynnn', 'ynnn'],
    3: ['yyyy', 'yyyy', 'yynn'],
    4: ['yyyy', 'yyyy', 'ynnn'],
    5: ['yyyy', 'yyyy', 'yynn'],
    6: ['yyyy', 'yyyy', 'ynnn'],
  };
  for (const [rtype, [holder, registrant, other]] of Object.entries(expected)) {
    const snapshot = reservationSnapshot(Bench.held(Number(rtype)).state)!;
    const gate = new ReservationGate(structuredClone(snapshot));
    assert.deepEqual([words(gate, 'A'), words(gate, 'B'), words(gate, 'X')], [holder, registrant, other], rtype);
    assert.equal(words(gate, ''), other, 'a host that has no identifier is nobody');
  }
  assert.equal(reservationSnapshot(NO_RESERVATIONS), null);
});

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

test('random commands of several hosts do what the model says', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const hosts = ['A', 'B', 'C', 'D'];
  const answers = new Map<string, number>();
  for (let story = 0; story < 400; story++) {
    const rng = new Rng(SEED + story);
    const bench = new Bench();
    const model = new ReservationModel();
    const trail: string[] = [];
    for (let step = 0; step < 60; step++) {
      const hostid = rng.pick(hosts);
      const command = randomCommand(rng, bench.state, hostid);
      trail.push(`${hostid} ${JSON.stringify(command, (_, v) => (typeof v === 'bigint' ? Number(v) : v))}`);
      const status = bench.run(hostid, command);
      const expected = model.run(hostid, command);
      const got = status === 0 ? 'ok' : status === CONFLICT ? 'conflict' : status === INVALID ? 'invalid' : 'other';
      const where = `seed ${SEED + story}:\n${trail.join('\n')}`;
      assert.equal(got, expected, where);
      assert.deepEqual(bench.told.toSorted(), model.told.toSorted(), where);
      assert.deepEqual(
        [...bench.state.registrants].map(([id, key]) => [id, key, holds(bench.state, id)]),
        model.registrants.map(({ hostid: id, key, holder }) => [id, key, holder]),
        where,
      );
      assert.equal(bench.state.rtype, model.rtype, where);
      assert.equal(bench.state.generation, Number(model.gen), where);
      assert.equal(bench.state.ptpl, model.ptpl, where);
      const snapshot = reservationSnapshot(bench.state);
      const gate = snapshot === null ? null : new ReservationGate(snapshot);
      for (const id of [...hosts, 'E']) {
        const may = (access: Access): boolean => gate === null || gate.allows(id, access);
        const rights = may(Access.Write) ? 'all' : may(Access.Read) ? 'read' : 'nothing';
        assert.equal(rights, model.rights(id), `${id}, ${where}`);
      }
      const kind = `${command.kind} ${'rrega' in command ? command.rrega : 'racqa' in command ? command.racqa : command.rrela} ${got}`;
      answers.set(kind, (answers.get(kind) ?? 0) + 1);
    }
  }
  // The stories are worth something: each action has succeeded and has been refused often.
  for (const action of [
    'register 0',
    'register 1',
    'register 2',
    'acquire 0',
    'acquire 1',
    'acquire 2',
    'release 0',
    'release 1',
  ]) {
    for (const answer of ['ok', 'conflict']) {
      assert.ok(
        (answers.get(`${action} ${answer}`) ?? 0) > 50,
        `${action} ${answer}: ${answers.get(`${action} ${answer}`)}`,
      );
    }
  }
});

/** Mostly a command that means something, with keys from a small set so that they meet. */
function randomCommand(rng: Rng, state: ReservationState, hostid: string): ReservationCommand {
  const some = (): bigint => BigInt(rng.below(4));
  const own = state.registrants.get(hostid);
  const crkey = own !== undefined && rng.chance(0.8) ? own : some();
  const iekey = rng.chance(0.1) ? 1 : 0;
  const rtype = rng.chance(0.05)
    ? rng.pick([0, 7])
    : state.rtype !== 0 && rng.chance(0.4)
      ? state.rtype
      : rng.between(1, 6);
  const kind = rng.below(10);
  if (kind < 5) {
    const rrega = rng.chance(0.6) ? 0 : rng.below(4);
    return { kind: 'register', rrega, iekey, cptpl: rng.chance(0.8) ? 0 : rng.below(4), crkey, nrkey: some() };
  }
  if (kind < 8) return { kind: 'acquire', racqa: rng.below(4), iekey, rtype, crkey, prkey: some() };
  return { kind: 'release', rrela: rng.chance(0.7) ? 0 : rng.below(3), iekey, rtype, crkey };
}
