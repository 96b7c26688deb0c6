import type { Rng } from '@nvbraid/base';
import { type BlockDevice, IoOp, IoResult, runIo } from '../../src/index.ts';

export interface CounterResult {
  /** Compare-and-writes that succeeded. */
  raised: number;
  failed: number;
}

/** The block that everybody counts in; its neighbours are written all the time. */
export const COUNTER_BLOCK = 1;

/** A block that says `value` in every 4 bytes, so that a mixture of two is no value that anybody can expect. */
export function counterBlock(blockSize: number, value: number): Uint8Array {
  return new Uint8Array(new Uint32Array(blockSize / 4).fill(value).buffer);
}

/** Raises the counter `increments` times, some of them together, while others write to the blocks around it. */
export async function count(device: BlockDevice, rng: Rng, increments: number): Promise<CounterResult> {
  const { blockSize } = device;
  const offset = COUNTER_BLOCK * blockSize;
  const result: CounterResult = { raised: 0, failed: 0 };
  let left = increments;
  let counting = true;
  const counter = async (): Promise<void> => {
    let value = 0;
    const found = new Uint8Array(blockSize);
    while (left > 0) {
      const outcome = await runIo(device, IoOp.CompareAndWrite, {
        offset,
        memory: counterBlock(blockSize, value + 1),
        compare: counterBlock(blockSize, value),
        fua: rng.chance(0.01),
      });
      if (outcome === IoResult.Ok) {
        result.raised++;
        left--;
      } else if (outcome !== IoResult.Miscompare) result.failed++;
      if (result.failed > 0) return;
      if ((await runIo(device, IoOp.Read, { offset, memory: found })) !== IoResult.Ok) result.failed++;
      value = new DataView(found.buffer).getUint32(0, true);
    }
  };
  const neighbour = async (block: number): Promise<void> => {
    while (counting) {
      const op = rng.pick([IoOp.Write, IoOp.Write, IoOp.Write, IoOp.WriteZeroes, IoOp.Flush]);
      const memory = new Uint8Array(op === IoOp.Write ? blockSize : 0);
      const length = op === IoOp.Flush ? 0 : blockSize;
      const outcome = await runIo(device, op, { offset: op === IoOp.Flush ? 0 : block * blockSize, memory, length });
      if (outcome !== IoResult.Ok) result.failed++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const neighbours = [neighbour(0), neighbour(2)];
  await Promise.all([counter(), counter(), counter()]);
  counting = false;
  await Promise.all(neighbours);
  return result;
}

/** What the counter says, or what is wrong with its block. */
export async function counted(device: BlockDevice): Promise<number | string> {
  const found = new Uint8Array(device.blockSize);
  await runIo(device, IoOp.Read, { offset: COUNTER_BLOCK * device.blockSize, memory: found });
  const values = new Set(new Uint32Array(found.buffer));
  return values.size === 1 ? [...values][0]! : `a mixture of ${[...values].join(' and ')}`;
}
