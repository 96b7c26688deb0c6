import { deepEqual, equal, ok } from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Rng } from '@nvbraid/base';
import { type BlockDevice, IoOp, IoRequest, IoResult, runIo } from '../src/index.ts';
import { BACKENDS } from './support/backends.ts';
import { blockTag, fillBlocks } from './support/blocks.ts';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const BLOCKS = 300;
const LONGEST = 80;

/** What the device must contain: the tag of each block. */
type Model = Uint32Array;

interface Step {
  op: IoOp;
  first: number;
  count: number;
  fua: boolean;
  deallocate: boolean;
  tag: number;
}

let lastTag = 1;

function anyStep(rng: Rng): Step {
  // Writes above all, and ranges at the end of the device more often than chance would have them.
  const op = rng.pick([IoOp.Read, IoOp.Read, IoOp.Write, IoOp.Write, IoOp.Write, IoOp.WriteZeroes, IoOp.Deallocate]);
  const count = rng.chance(0.7) ? rng.between(1, 4) : rng.between(1, LONGEST);
  const first = rng.chance(0.1) ? BLOCKS - count : rng.below(BLOCKS - count + 1);
  const fua = rng.chance(0.04) && (op === IoOp.Write || op === IoOp.WriteZeroes);
  return { op, first, count, fua, deallocate: rng.chance(0.5), tag: op === IoOp.Write ? ++lastTag : 0 };
}

/** An operation and the buffer it uses, some bytes in to catch whoever forgets `memoryOffset`. */
class Running {
  readonly step: Step;
  readonly io = new IoRequest();
  readonly bytes: Uint8Array;
  readonly over: Promise<void>;
  readonly #blockSize: number;

  constructor(device: BlockDevice, step: Step) {
    this.step = step;
    this.#blockSize = device.blockSize;
    const { op, first, count, fua, deallocate } = step;
    const length = op === IoOp.Flush ? 0 : count * device.blockSize;
    this.bytes = new Uint8Array(length + 16).fill(0xee);
    if (op === IoOp.Write) fillBlocks(this.bytes.subarray(8, 8 + length), step.tag);
    this.io.set(op, {
      memory: this.bytes,
      memoryOffset: 8,
      offset: op === IoOp.Flush ? 0 : first * device.blockSize,
      length,
      fua,
      deallocate,
    });
    this.over = new Promise((resolve) => {
      let answered = false;
      this.io.onDone = () => {
        ok(answered, 'done was called inside submit');
        resolve();
      };
      if (device.submit(this.io)) resolve();
      answered = true;
    });
  }

  tagOf(block: number): number {
    return blockTag(this.bytes.subarray(8), (block - this.step.first) * this.#blockSize, this.#blockSize);
  }

  checkEdges(): void {
    for (const at of [0, 7, this.bytes.length - 8, this.bytes.length - 1]) {
      equal(this.bytes[at], 0xee, 'bytes beside the buffer changed');
    }
  }
}

const touches = (step: Step, block: number) =>
  step.op !== IoOp.Flush && block >= step.first && block < step.first + step.count;

async function readAll(device: BlockDevice): Promise<Model> {
  const bytes = new Uint8Array(BLOCKS * device.blockSize);
  equal(await runIo(device, IoOp.Read, { memory: bytes }), IoResult.Ok);
  return Uint32Array.from({ length: BLOCKS }, (_, block) =>
    blockTag(bytes, block * device.blockSize, device.blockSize),
  );
}

/** One at a time: every read must return exactly what was written last. */
async function sequential(device: BlockDevice, rng: Rng, model: Model, steps: number): Promise<void> {
  for (let n = 0; n < steps; n++) {
    const step = rng.chance(0.03)
      ? { op: IoOp.Flush, first: 0, count: 0, fua: false, deallocate: false, tag: 0 }
      : anyStep(rng);
    const running = new Running(device, step);
    await running.over;
    equal(running.io.result, IoResult.Ok);
    running.checkEdges();
    for (let block = step.first; block < step.first + step.count; block++) {
      if (step.op === IoOp.Read) equal(running.tagOf(block), model[block], `block ${block} in step ${n}`);
      else model[block] = step.tag;
    }
  }
  deepEqual(await readAll(device), model);
}

/** Many at a time: each block that is read is whole and was there before or is being written. */
async function concurrent(device: BlockDevice, rng: Rng, model: Model, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const all: Running[] = [];
    for (let n = 0; n < 24; n++) {
      all.push(new Running(device, anyStep(rng)));
      if (rng.chance(0.03)) {
        all.push(new Running(device, { op: IoOp.Flush, first: 0, count: 0, fua: false, deallocate: false, tag: 0 }));
      }
    }
    await Promise.all(all.map((running) => running.over));
    const changes = all.filter((running) => running.step.op !== IoOp.Read);
    const allowed = (block: number) =>
      new Set([model[block]!, ...changes.filter((c) => touches(c.step, block)).map((c) => c.step.tag)]);
    for (const running of all) {
      equal(running.io.result, IoResult.Ok);
      running.checkEdges();
      if (running.step.op !== IoOp.Read) continue;
      for (let block = running.step.first; block < running.step.first + running.step.count; block++) {
        const tag = running.tagOf(block);
        ok(allowed(block).has(tag), `round ${round}: block ${block} read as ${tag}, allowed ${[...allowed(block)]}`);
      }
    }
    const after = await readAll(device);
    for (let block = 0; block < BLOCKS; block++) {
      const written = changes.filter((c) => touches(c.step, block)).map((c) => c.step.tag);
      const valid = written.length === 0 ? [model[block]!] : written;
      ok(valid.includes(after[block]!), `round ${round}: block ${block} is ${after[block]}, not one of ${valid}`);
    }
    model.set(after);
  }
}

describe('every device', () => {
  console.log(`conformance: SEED=${SEED}`);
  for (const backend of BACKENDS) {
    for (const blockSize of [512, 4096]) {
      it(`${backend.name}, blocks of ${blockSize}`, { skip: backend.skip ?? false }, async () => {
        const rng = new Rng(SEED);
        const { device, prepared, close } = await backend.open(BLOCKS * blockSize, blockSize, SEED);
        try {
          equal(device.blockSize, blockSize);
          equal(device.blockCount, BLOCKS);
          for (const fact of ['blockSize', 'blockCount', 'readOnly', 'volatileWriteCache', 'thin'] as const) {
            equal(device[fact], prepared[fact], fact);
          }
          const model: Model = new Uint32Array(BLOCKS);
          deepEqual(await readAll(device), model, 'a new device is not all zeroes');
          await sequential(device, rng, model, 80);
          await concurrent(device, rng, model, 8);
          await sequential(device, rng, model, 30);
        } finally {
          await close();
        }
      });
    }
  }
});
