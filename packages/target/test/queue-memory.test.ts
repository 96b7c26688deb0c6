import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory, Outbox, Rng, SlabPool } from '@nvbraid/base';
import { CapsuleCmd, H2CData, ICReq, IoOpcode, PduType, R2T, RwSqe, SglId } from '@nvbraid/wire';
import { QUEUE_SLAB_BYTES } from '../src/queue-limits.ts';
import { QueuePair } from '../src/queue-pair.ts';
import type { CommandSet, Request } from '../src/request.ts';

const { Read, Write } = IoOpcode;
const KIB = 1024;
const MIB = 1024 * KIB;

/** The queues of one thread, that share a pool; a thread that retries after each turn. */
class Thread {
  readonly pool: SlabPool;
  readonly starved = new Set<QueuePair>();
  wanted = 0;

  constructor(poolBytes: number) {
    this.pool = new SlabPool(poolBytes);
  }

  retry(): void {
    const waiting = [...this.starved];
    this.starved.clear();
    for (const queue of waiting) queue.retryStarved();
  }
}

/** A queue whose commands stay under way until the test ends them, and its host. */
class Queue implements CommandSet {
  readonly pair: QueuePair;
  readonly running: Request[] = [];
  readonly answered: number[] = [];
  /** R2Ts not answered: cid, tag and length. */
  readonly asked: { cid: number; ttag: number; length: number }[] = [];
  readonly #out = new Outbox();
  readonly #thread: Thread;

  constructor(thread: Thread) {
    this.#thread = thread;
    const wantTransmit = (): void => {
      thread.wanted++;
    };
    const starved = (queue: QueuePair): void => {
      thread.starved.add(queue);
    };
    this.pair = new QueuePair({ pool: thread.pool, wantTransmit, starved }, this);
    this.#receive(ICReq.toBytes({ pduType: PduType.ICReq, hlen: 128, plen: 128 }));
    this.poll();
    this.pair.bind(1, 128, true, this);
  }

  admit(): number {
    return 0;
  }

  execute(request: Request): void {
    if (request.opcode === Read && request.replyBuffer() === null) return;
    if (request.opcode === Write) request.keepData();
    this.running.push(request);
  }

  closed(): void {}

  get cids(): number[] {
    return this.running.map(({ cid }) => cid);
  }

  send(opc: number, cid: number, length: number, inCapsule = false): void {
    const bytes = new Uint8Array(72 + (inCapsule ? length : 0));
    const { view } = Memory.over(bytes);
    const sglId = inCapsule ? SglId.inCapsule : SglId.transport;
    const pduType = PduType.CapsuleCmd;
    CapsuleCmd.emit(view, 0, { pduType, hlen: 72, pdo: inCapsule ? 72 : 0, plen: bytes.length });
    RwSqe.emit(view, 8, { opc, cid, nsid: 1, psdt: 1, sglId, sglLength: length });
    this.#receive(bytes);
    this.poll();
  }

  /** Answers the oldest R2T. */
  fill(): void {
    const { cid, ttag, length } = this.asked.shift()!;
    const bytes = new Uint8Array(24 + length);
    const header = { pduType: PduType.H2CData, flags: 4, hlen: 24, pdo: 24, plen: bytes.length };
    H2CData.emit(Memory.over(bytes).view, 0, { ...header, cccid: cid, ttag, datao: 0, datal: length });
    this.#receive(bytes);
    this.poll();
  }

  /** The device has done a command; its answer is sent, and the thread looks who waits for memory. */
  finish(at = 0): void {
    this.running.splice(at, 1)[0]!.complete(0);
    this.poll();
    this.#thread.retry();
    this.poll();
  }

  poll(): void {
    for (let more = true; more; ) {
      more = this.pair.transmit(this.#out);
      const memory = Memory.over(this.#out.toBytes());
      this.#out.reset();
      for (let at = 0; at < memory.length; at += memory.view.getUint32(at + 4, true)) {
        const type = memory.bytes[at];
        if (type === PduType.CapsuleResp) this.answered.push(memory.view.getUint16(at + 8 + 12, true));
        else if (type === PduType.R2T) {
          const { cccid, ttag, r2tl } = R2T.parse(memory.view, at);
          this.asked.push({ cid: cccid, ttag, length: r2tl });
        }
      }
    }
  }

  #receive(bytes: Uint8Array): void {
    this.pair.receive(Memory.over(bytes), 0, bytes.length);
  }
}

test('the first command of a queue gets its memory, whoever sits on all the rest', () => {
  const thread = new Thread(64 * KIB);
  const silent = new Queue(thread);
  silent.send(Write, 1, MIB); // never sends its data
  const others = [new Queue(thread), new Queue(thread)];
  others[0]!.send(Read, 2, 4 * KIB);
  others[1]!.send(Write, 3, 16 * KIB);
  others[1]!.fill();
  assert.deepEqual([others[0]!.cids, others[1]!.cids], [[2], [3]]);
  others[0]!.send(Read, 4, 4 * KIB);
  assert.deepEqual(others[0]!.cids, [2], 'but the second waits');
  others[0]!.finish();
  assert.deepEqual([others[0]!.answered, others[0]!.cids], [[2], [4]]);
});

test('no queue takes more than its share, however large the pool is', () => {
  const thread = new Thread(64 * MIB);
  const queue = new Queue(thread);
  const share = QUEUE_SLAB_BYTES / MIB;
  for (let cid = 0; cid < share + 2; cid++) queue.send(Read, cid, MIB);
  assert.equal(queue.running.length, share);
  assert.equal(thread.pool.loanedBytes, QUEUE_SLAB_BYTES);
  queue.finish();
  assert.deepEqual(queue.cids, [1, 2, 3, 4]);
});

test('a long command is not overtaken by short ones for ever', () => {
  const thread = new Thread(64 * KIB);
  const queue = new Queue(thread);
  for (let cid = 0; cid < 16; cid++) queue.send(Read, cid, 4 * KIB);
  assert.equal(queue.running.length, 16);
  queue.send(Write, 100, 32 * KIB);
  for (let done = 0; done < 7; done++) {
    queue.finish();
    queue.send(Read, 16 + done, 4 * KIB);
  }
  assert.deepEqual([queue.asked.length, queue.running.length], [0, 9], 'what comes free is kept for it');
  queue.finish();
  assert.deepEqual([queue.asked[0]!.cid, queue.running.length], [100, 8]);
  queue.finish();
  assert.deepEqual(queue.cids, [9, 10, 11, 12, 13, 14, 15, 16], 'then the others, in order');
});

test('to look for memory in vain asks for no turn: the next look would never be the last', () => {
  const thread = new Thread(16 * KIB);
  const queue = new Queue(thread);
  queue.send(Read, 1, 16 * KIB);
  queue.send(Read, 2, 16 * KIB);
  const { wanted } = thread;
  for (let i = 0; i < 3; i++) thread.retry();
  assert.deepEqual([thread.wanted, thread.starved.has(queue.pair)], [wanted, true]);
});

test('a queue is congested while arrived writes exceed the limit, but never while data it asked for is due', () => {
  const thread = new Thread(16 * KIB);
  const queue = new Queue(thread);
  for (let cid = 0; cid < 2; cid++) queue.send(Write, cid, 8 * KIB, true);
  assert.equal(queue.pair.congested, false);
  queue.send(Write, 2, 8 * KIB, true);
  assert.equal(queue.pair.congested, true);
  const other = new Queue(thread);
  other.send(Read, 9, 8 * KIB);
  assert.equal(other.pair.congested, false, 'it holds no arrived data: not to read it would not help');
  const asking = new Queue(thread);
  asking.send(Write, 1, 32 * KIB);
  asking.send(Write, 2, 8 * KIB, true);
  assert.deepEqual([asking.asked.length, asking.pair.congested], [1, false]);
  asking.fill();
  assert.equal(asking.pair.congested, true);
  while (asking.running.length > 0) asking.finish();
  for (let i = 0; i < 3; i++) queue.finish();
  new Queue(thread).send(Read, 1, 64 * KIB); // beyond the limit, but nothing of theirs
  assert.deepEqual([queue.pair.congested, asking.pair.congested], [false, false]);
});

test('a queue that goes gives back at once what no device uses, the rest when the device has finished', () => {
  const thread = new Thread(64 * KIB);
  const [going, staying] = [new Queue(thread), new Queue(thread)];
  going.send(Read, 1, 32 * KIB);
  going.send(Write, 2, 16 * KIB); // R2T sent
  going.send(Write, 3, 64 * KIB); // waits
  staying.send(Read, 4, 16 * KIB);
  staying.send(Read, 5, 32 * KIB);
  assert.deepEqual(staying.cids, [4]);
  going.pair.closed();
  assert.equal(thread.pool.loanedBytes, 48 * KIB);
  thread.retry();
  assert.deepEqual(staying.cids, [4]);
  going.running.pop()!.complete(0);
  thread.retry();
  assert.deepEqual([staying.cids, going.answered], [[4, 5], []]);
});

test('queues at random: everything is answered once, memory is bounded and comes back', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  console.log(`seed ${seed}`);
  const rng = new Rng(seed);
  const limit = 256 * KIB;
  const thread = new Thread(limit);
  const queues = Array.from({ length: 4 }, () => new Queue(thread));
  const sent = queues.map(() => 0);
  const step = (sending: boolean): void => {
    const i = rng.below(queues.length);
    const queue = queues[i]!;
    const action = rng.below(4);
    if (action === 0 && sending && sent[i]! - queue.answered.length < 100 && !queue.pair.congested) {
      const kind = rng.below(3);
      const length = 4 * KIB * (kind === 2 ? 1 + rng.below(2) : 1 << rng.below(9));
      queue.send(kind === 0 ? Read : Write, sent[i]!++, length, kind === 2);
    } else if (action === 1 && queue.asked.length > 0) queue.fill();
    else if (queue.running.length > 0) queue.finish(rng.below(queue.running.length));
    for (const each of queues) each.poll();
    // Beyond the limit: the first command of each queue, and what arrives in capsules while R2Ts are open.
    assert.ok(thread.pool.loanedBytes <= limit + queues.length * (MIB + 100 * 8 * KIB), 'bounded');
  };
  for (let i = 0; i < 2000; i++) step(true);
  for (let i = 0; i < 20_000 && queues.some((queue, q) => queue.answered.length < sent[q]!); i++) step(false);
  for (const [i, queue] of queues.entries()) {
    assert.deepEqual(
      queue.answered.toSorted((a, b) => a - b),
      Array.from({ length: sent[i]! }, (_, cid) => cid),
    );
  }
  assert.deepEqual([thread.pool.loanedBytes, thread.starved.size], [0, 0]);
});
