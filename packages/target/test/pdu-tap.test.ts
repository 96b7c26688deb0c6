import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeTimers, Memory, Outbox, Rng } from '@nvbraid/base';
import { CapsuleCmd, CapsuleResp, CommonHeader, Framer, H2CData, PduType, R2T, Sqe } from '@nvbraid/wire';
import { type FaultRule, PduTap, publishFault, type QueueIdentity, readFault, type TapHooks } from '../src/index.ts';

const IDENTITY: QueueIdentity = { hostnqn: 'nqn.2026-01.x:h', subnqn: 'nqn.2026-01.x:s', portId: 1, qid: 1 };
const WRITE = 1;
const READ = 2;

/** A core that only remembers, and a connection that only remembers. */
class Stand {
  readonly timers = new FakeTimers(500);
  readonly log: string[] = [];
  readonly got: number[] = [];
  readonly sent: number[] = [];
  readonly hooks: TapHooks = {
    timers: this.timers,
    thread: 0,
    moved: () => this.transmit(),
    kill: (after) => void this.log.push(after ? 'end' : 'reset'),
    killController: () => void this.log.push('controller'),
    log: (message) => void this.log.push(message),
  };
  readonly tap: PduTap;
  readonly #out = new Outbox();
  #ids = 0;

  constructor(...rules: FaultRule[]) {
    const core = {
      receive: (memory: Memory, start: number, end: number) => void this.got.push(...memory.bytes.subarray(start, end)),
      toBoundary: 0,
    };
    this.tap = new PduTap(core, IDENTITY, this.hooks);
    this.rules(...rules);
  }

  rules(...rules: FaultRule[]): void {
    this.tap.update(
      rules.map((rule) => publishFault(++this.#ids, readFault(rule))),
      IDENTITY,
    );
  }

  receive(...pdus: Uint8Array[]): void {
    const bytes = Buffer.concat(pdus);
    this.tap.received(Memory.over(bytes), 0, bytes.length);
  }

  transmit(...pdus: Uint8Array[]): void {
    for (const pdu of pdus) this.#out.append(Memory.over(pdu), 0, pdu.length);
    this.tap.transmitted(this.#out);
    this.sent.push(...this.#out.toBytes());
    this.#out.reset();
  }
}

function command(opc: number, cid: number, data = 0): Uint8Array {
  const bytes = new Uint8Array(72 + data);
  const { view } = Memory.over(bytes);
  CapsuleCmd.emit(view, 0, { pduType: PduType.CapsuleCmd, hlen: 72, pdo: data ? 72 : 0, plen: bytes.length });
  Sqe.emit(view, 8, { opc, cid });
  bytes.fill(cid, 72);
  return bytes;
}

function response(cid: number): Uint8Array {
  const bytes = new Uint8Array(24);
  const { view } = Memory.over(bytes);
  CapsuleResp.emit(view, 0, { pduType: PduType.CapsuleResp, hlen: 24, plen: 24 });
  view.setUint16(8 + 12, cid, true);
  return bytes;
}

function r2t(cid: number): Uint8Array {
  const bytes = new Uint8Array(24);
  R2T.emit(Memory.over(bytes).view, 0, { pduType: PduType.R2T, hlen: 24, plen: 24, cccid: cid, r2tl: 512 });
  return bytes;
}

function h2cData(cid: number, length: number): Uint8Array {
  const bytes = new Uint8Array(24 + length).fill(cid);
  H2CData.emit(Memory.over(bytes).view, 0, {
    pduType: PduType.H2CData,
    hlen: 24,
    pdo: 24,
    plen: 24 + length,
    cccid: cid,
    datal: length,
  });
  return bytes;
}

const flat = (...pdus: Uint8Array[]): number[] => [...Buffer.concat(pdus)];

describe('a tap', () => {
  it('lets pass, however the stream is cut, what no rule hits', () => {
    const rng = new Rng(7);
    for (let round = 0; round < 50; round++) {
      const stand = new Stand({ action: 'drop', opcode: 'flush' });
      const pdus = Array.from({ length: 20 }, (_, i) =>
        rng.pick([command(WRITE, i, 100), command(READ, i), h2cData(i, 700)]),
      );
      const all = Buffer.concat(pdus);
      for (let at = 0; at < all.length; ) {
        const end = Math.min(all.length, at + rng.between(1, 300));
        stand.tap.received(Memory.over(all), at, end);
        at = end;
      }
      deepEqual(stand.got, [...all]);
      equal(stand.tap.quiet, true);
    }
  });

  it('begins in the middle of a PDU, wherever that is', () => {
    const stream = Buffer.concat([command(WRITE, 1, 40), command(READ, 2), command(WRITE, 3, 24)]);
    for (let cut = 0; cut <= stream.length; cut++) {
      const seen: number[] = [];
      const framer: Framer = new Framer(
        'controller',
        {
          pduHeader: (_type, view, base) => void seen.push(Sqe.cid.get(view, base + 8)),
          pduPlace: () => {},
          pduEnd: () => {},
          pduFatal: (fes) => void seen.push(-fes),
        },
        { maxInCapsule: 8192, maxData: 8192 },
      );
      framer.receive(Memory.over(stream), 0, cut);
      const stand = new Stand();
      const tap = new PduTap(framer, IDENTITY, stand.hooks);
      tap.update([publishFault(1, readFault({ action: 'drop', opcode: 'read' }))], IDENTITY);
      for (let at = cut; at < stream.length; at += 11)
        tap.received(Memory.over(stream), at, Math.min(stream.length, at + 11));
      // The read is hit when it begins behind the cut.
      deepEqual(seen, cut <= 112 ? [1, 3] : [1, 2, 3], `from byte ${cut} on`);
    }
  });

  it('drops by opcode, also the answer of a command that it has seen', () => {
    const stand = new Stand({ action: 'drop', pdu: 'CapsuleResp', opcode: 'write', count: 1, skip: 1 });
    stand.receive(command(WRITE, 1), command(READ, 2), command(WRITE, 3), command(WRITE, 4));
    stand.transmit(response(2), response(1), response(3), response(4));
    deepEqual(stand.sent, flat(response(2), response(1), response(4)), 'the second write has no answer');
    equal(stand.got.length, 4 * 72, 'commands pass');
  });

  it('delays a direction as a whole, in order, and the other not at all', () => {
    const stand = new Stand({ action: 'delay', time: '20ms', pdu: 'CapsuleResp', opcode: 'write' });
    stand.receive(command(WRITE, 1), command(READ, 2));
    stand.transmit(response(1));
    stand.transmit(response(2));
    deepEqual(stand.sent, []);
    stand.receive(command(READ, 3));
    equal(stand.got.length, 3 * 72);
    stand.timers.advance(19);
    deepEqual(stand.sent, []);
    equal(stand.tap.quiet, false);
    stand.timers.advance(1);
    deepEqual(stand.sent, flat(response(1), response(2)));
    equal(stand.tap.quiet, true);
  });

  it('stalls an R2T until the fault is removed, while others overtake it', () => {
    const stand = new Stand({ action: 'stall', pdu: 'R2T', count: 1 });
    stand.transmit(r2t(1), r2t(2), response(9));
    deepEqual(stand.sent, flat(r2t(2), response(9)));
    stand.timers.advance(3_600_000);
    equal(stand.sent.length, 48);
    stand.rules({ action: 'drop', opcode: 'flush' });
    stand.timers.advance(1);
    deepEqual(stand.sent.slice(48), flat(r2t(1)));
  });

  it('flips one bit where it is told to, the same with the same seed', () => {
    const run = (seed: number): number[] => {
      const stand = new Stand({ action: 'corrupt', part: 'data', pdu: 'H2CData', seed });
      stand.receive(h2cData(3, 512), command(WRITE, 1));
      const before = flat(h2cData(3, 512), command(WRITE, 1));
      const wrong = stand.got.flatMap((byte, i) => (byte === before[i] ? [] : [i]));
      equal(wrong.length, 1);
      ok(wrong[0]! >= 24 && wrong[0]! < 24 + 512, `at ${wrong[0]}`);
      return [wrong[0]!, stand.got[wrong[0]!]!];
    };
    deepEqual(run(5), run(5));
    ok([1, 2, 3, 4].some((seed) => run(seed)[0] !== run(5)[0]));
  });

  it('truncates and then ends the connection; nothing follows', () => {
    const stand = new Stand({ action: 'truncate', pdu: 'CapsuleResp', skip: 1 });
    stand.transmit(response(1), response(2), response(3));
    ok(stand.sent.length > 24 && stand.sent.length < 48, `${stand.sent.length} bytes`);
    deepEqual(stand.sent, flat(response(1), response(2)).slice(0, stand.sent.length));
    deepEqual(stand.log, ['end']);
    stand.receive(command(WRITE, 1));
    deepEqual(stand.got, []);
  });

  it('kills a queue, or the controller with it', () => {
    const queue = new Stand({ action: 'kill-queue', opcode: 'write', skip: 2 });
    queue.receive(command(WRITE, 1), command(WRITE, 2), command(WRITE, 3), command(WRITE, 4));
    equal(queue.got.length, 2 * 72);
    deepEqual(queue.log, ['reset']);
    const controller = new Stand({ action: 'kill-controller' });
    controller.receive(command(READ, 1));
    deepEqual(controller.log, ['controller', 'reset']);
    deepEqual(controller.got, []);
  });

  it('gives everything on when it is told to go', () => {
    const stand = new Stand({ action: 'delay', time: '10s' }, { action: 'stall', pdu: 'R2T' });
    stand.receive(command(WRITE, 1), command(WRITE, 2).subarray(0, 30));
    stand.transmit(response(8));
    deepEqual([stand.got.length, stand.sent.length], [0, 0]);
    stand.tap.drain();
    stand.transmit(response(9));
    deepEqual(stand.got, flat(command(WRITE, 1), command(WRITE, 2).subarray(0, 30)));
    deepEqual(stand.sent, flat(response(8), response(9)));
    equal(stand.tap.over, true);
    stand.receive(command(WRITE, 2).subarray(30));
    equal(stand.got.length, 2 * 72);
  });

  it('that was told to go and has not gone yet takes new rules', () => {
    const stand = new Stand({ action: 'stall', pdu: 'R2T' });
    stand.transmit(r2t(1));
    stand.tap.drain();
    stand.rules({ action: 'drop', pdu: 'CapsuleCmd' });
    stand.receive(command(WRITE, 1));
    stand.transmit(r2t(2));
    deepEqual(stand.got, []);
    deepEqual(stand.sent, flat(r2t(1), r2t(2)));
    equal(stand.tap.over, false);
  });

  it('leaves a stream that is none to the core, and holds no more than it may', () => {
    const wild = new Stand({ action: 'drop', opcode: 'flush' });
    const bytes = new Uint8Array(64).fill(0xff);
    wild.receive(bytes, bytes);
    deepEqual(wild.got, flat(bytes, bytes));
    const full = new Stand({ action: 'stall', pdu: 'C2HData R2T CapsuleResp' });
    const long = new Uint8Array(4 * 1024 * 1024 - 8);
    CommonHeader.emit(Memory.over(long).view, 0, { pduType: PduType.C2HData, hlen: 24, pdo: 24, plen: long.length });
    for (let n = 0; n < 20; n++) full.transmit(long);
    equal(full.log.at(-1), 'reset');
  });
});

describe('rules of faults', () => {
  const refused: [unknown, RegExp][] = [
    [{}, /fault: action is missing; it is one of drop, delay/],
    [{ action: 'explode' }, /action is one of drop.* not "explode"/],
    [{ action: 'drop', wher: 1 }, /there is no setting "wher"/],
    [{ action: 'drop', host: 'x'.repeat(300) }, /host is an NQN, or none, not "xxx/],
    [{ action: 'drop', opcode: 'wrote' }, /opcode is the name of a command/],
    [{ action: 'drop', qid: '5-1' }, /qid is a range/],
    [{ action: 'drop', pdu: 'Capsule' }, /pdu is some of ICReq/],
    [{ action: 'drop', time: '1s' }, /time means nothing for drop; it is for delay, stall/],
    [{ action: 'delay' }, /delay needs a time/],
    [{ action: 'ana-flap', opcode: 'write' }, /opcode means nothing for ana-flap/],
    [{ action: 'data-digest', pdu: 'R2T' }, /R2T carries no data/],
    ['drop', /the settings are not an object/],
  ];
  for (const [rule, sentence] of refused) {
    it(`refuses ${JSON.stringify(rule)}`, () => throws(() => readFault(rule), sentence));
  }

  it('finds commands by name on the queue where they are', () => {
    for (const [opcode, opc, hit] of [
      ['get-log-page', 2, false],
      ['read', 2, true],
      ['2', 2, true],
      ['0x01', 2, false],
    ] as const) {
      const stand = new Stand({ action: 'drop', opcode });
      stand.receive(command(opc, 1));
      equal(stand.got.length === 0, hit, `${opcode} on an I/O queue`);
    }
  });
});
