/* Our host over two ports of a Linux kernel's target, while the ports go and come back: see target2.sh. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, HistoryChecker, type HostHead } from 'nvbraid';
import type { Guest } from './guest.ts';

const SECONDS = 60;
const WRITERS = 4;
/** Blocks of each writer: none is written by two, since what fails over may run twice. */
const BLOCKS = 16;
/** The guest is emulated: between two operations of a writer. */
const REST_MS = 60;

export interface Told {
  readonly operations: number;
  readonly longestMs: number;
  readonly boundMs: number;
  readonly formula: string;
}

/** Writes and verifies for a minute; meanwhile one port at a time is taken away or changes its ANA state. */
export async function twoKernelPorts(
  guest: Guest,
  nqn: string,
  ports: readonly number[],
  safeFailover: boolean,
): Promise<Told> {
  const head = await connect({
    ...{ nqn, safeFailover, iopolicy: 'round-robin', keepAliveTmo: 4, reconnectDelay: 1 },
    ...{ ioTimeoutMs: 120_000, adminTimeoutMs: 120_000 },
    paths: ports.map((trsvcid) => ({ traddr: '127.0.0.1', trsvcid })),
  });
  try {
    assert.equal(head.core.paths.length, 2, 'both ports are connected');
    const { ms: boundMs, formula } = head.subsystem.stallBound();
    const checker = new HistoryChecker({ blockSize: head.blockSize, run: 1 + Number(safeFailover), initial: 'any' });
    const state = { operations: 0, longestMs: 0, untilMs: performance.now() + SECONDS * 1000 };
    const work = Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(head, checker, writer, state)));
    // A failure is told when the trouble is over, and not as an unhandled rejection before.
    work.catch(() => {});
    for (let turn = 0; performance.now() < state.untilMs; turn++) await trouble(guest, (turn % 2) + 1, turn);
    await work;
    assert.equal(checker.violation, null, JSON.stringify(checker.violation));
    assert.ok(state.operations > 100, `${state.operations} operations`);
    assert.ok(state.longestMs <= boundMs, `an operation took ${state.longestMs} ms; the bound is ${formula}`);
    return { operations: state.operations, longestMs: state.longestMs, boundMs, formula };
  } finally {
    await head.disconnect();
  }
}

/** Answers repeat the number of what was asked. */
let asked = 0;

async function trouble(guest: Guest, portid: number, turn: number): Promise<void> {
  const kinds = [
    [`unlink ${portid}`, `link ${portid}`],
    [`ana ${portid} inaccessible`, `ana ${portid} optimized`],
    [`ana ${portid} non-optimized`, `ana ${portid} optimized`],
  ];
  for (const line of kinds[Math.floor(turn / 2) % kinds.length]!) {
    const number = ++asked;
    guest.send(`${number} ${line}`);
    await guest.line(new RegExp(`^done ${number}$`));
    await sleep(2000);
  }
  await sleep(2000); // the path comes back
}

async function write(
  head: HostHead,
  checker: HistoryChecker,
  writer: number,
  state: { operations: number; longestMs: number; readonly untilMs: number },
): Promise<void> {
  const block = Buffer.alloc(head.blockSize);
  for (let i = 0; performance.now() < state.untilMs; i++) {
    const slba = writer * BLOCKS + ((i * 5) % BLOCKS);
    const startMs = performance.now();
    const written = checker.beginWrite(writer, slba, 1, block);
    await head.write(slba, block);
    checker.completeWrite(written);
    const middleMs = performance.now();
    const read = checker.beginRead(slba, 1);
    await head.read(slba, block);
    checker.completeRead(read, block);
    state.longestMs = Math.max(state.longestMs, middleMs - startMs, performance.now() - middleMs);
    state.operations += 2;
    await sleep(REST_MS);
  }
}
