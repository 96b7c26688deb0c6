import { NvbraidError } from '@nvbraid/base';
import { LOCAL_DISTANCE, MAX_DISTANCE, REMOTE_DISTANCE } from './limits.ts';

/** Distance between two NUMA nodes, 1 … 255; 10 is a node to itself. */
export type Distance = (from: number, to: number) => number;

const unknown: Distance = (from, to) => (from === to ? LOCAL_DISTANCE : REMOTE_DISTANCE);

/** All distances, asked once: the one from `from` to `to` stands at `from * nodeCount + to`. EINVAL when one is odd. */
export function distanceTable(nodeCount: number, distance: Distance = unknown): Uint8Array {
  const table = new Uint8Array(nodeCount * nodeCount);
  for (let from = 0; from < nodeCount; from++) {
    for (let to = 0; to < nodeCount; to++) {
      const value = distance(from, to);
      if (!Number.isInteger(value) || value < 1 || value > MAX_DISTANCE) {
        const what = `distance ${value} from node ${from} to node ${to}`;
        throw new NvbraidError('EINVAL', `${what} is not in 1 … ${MAX_DISTANCE}`);
      }
      table[from * nodeCount + to] = value;
    }
  }
  return table;
}
