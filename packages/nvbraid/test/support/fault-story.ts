import { type FilterConfig, memoryDevice } from '@nvbraid/blockdev';
import { type ControllerOptions, connectController } from '../../src/connect.ts';
import { HistoryChecker } from '../../src/history.ts';
import type { HostController } from '../../src/host-controller.ts';
import { createTarget, type Target } from '../../src/target.ts';

export const NQN = 'nqn.2026-01.org.nvbraid:faulty';
export const HOST = 'nqn.2026-01.org.nvbraid:host-under-faults';
const BLOCK = 4096;
const BLOCKS = 64;

export interface Story {
  target: Target;
  controller: HostController;
  logged: string[];
  /** Why controllers ended. */
  gone: string[];
  close(): Promise<void>;
}

/** A target, our host that gives up soon and comes back soon, and a namespace of 64 blocks of 4 KiB under filters. */
export async function story(
  reactors: number,
  options: Partial<ControllerOptions> = {},
  filters: FilterConfig[] = [],
): Promise<Story> {
  const target = await createTarget({ reactors });
  const logged: string[] = [];
  const gone: string[] = [];
  target.on('log', (message) => logged.push(message));
  target.on('controller-gone', (_controller, reason) => gone.push(reason));
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, { device: memoryDevice({ size: BLOCKS * BLOCK, blockSize: BLOCK }), filters });
  const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  const controller = await connectController({
    traddr: '127.0.0.1',
    trsvcid: port,
    nqn: NQN,
    hostnqn: HOST,
    nrIoQueues: 2,
    ioTimeoutMs: 400,
    adminTimeoutMs: 1000,
    reconnectDelay: 0.05,
    // The checker must know of every command whether it was sent once.
    maxRetries: 0,
    ...options,
  });
  const close = async (): Promise<void> => {
    if (!open.delete(close)) return;
    await controller.disconnect().catch(() => {});
    await target.close();
  };
  open.add(close);
  return { target, controller, logged, gone, close };
}

const open = new Set<() => Promise<void>>();

/** After each test: also one that failed leaves nothing behind. */
export async function closeStories(): Promise<void> {
  for (const close of [...open]) await close();
}

export interface Traffic {
  checker: HistoryChecker;
  done: number;
  failed: number;
  /** Stops, and reads everything once more. */
  stop(): Promise<void>;
}

/** Reads and writes of 1 to 4 blocks by some workers, all of them checked: nothing lost, doubled, stale or torn. */
export function traffic({ controller }: Story, seed: number, workers = 6): Traffic {
  const checker = new HistoryChecker({ blockSize: BLOCK, run: seed, initial: 'zero' });
  const namespace = controller.namespace(1);
  let stopping = false;
  const state: Traffic = { checker, done: 0, failed: 0, stop };
  let next = seed;
  const random = (below: number): number => {
    next = (Math.imul(next, 1103515245) + 12345) >>> 0;
    return Math.floor((next / 2 ** 32) * below);
  };

  async function one(worker: number, write: boolean, slba: number, blocks: number): Promise<boolean> {
    const buffer = new Uint8Array(blocks * BLOCK);
    if (write) {
      const ticket = checker.beginWrite(worker, slba, blocks, buffer);
      try {
        await namespace.write(slba, buffer);
      } catch {
        checker.failWrite(ticket, true);
        return false;
      }
      checker.completeWrite(ticket);
      return true;
    }
    const ticket = checker.beginRead(slba, blocks);
    try {
      await namespace.read(slba, buffer);
    } catch {
      checker.failRead(ticket);
      return false;
    }
    checker.completeRead(ticket, buffer);
    return true;
  }

  async function work(worker: number): Promise<void> {
    while (!stopping && checker.violation === null) {
      const blocks = 1 + random(4);
      if (await one(worker, random(2) === 0, random(BLOCKS - blocks + 1), blocks)) state.done++;
      else {
        state.failed++;
        await pause(5); // while the connection is away everything fails at once
      }
    }
  }
  const running = Array.from({ length: workers }, (_, worker) => work(worker));

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(running);
    for (let slba = 0; slba < BLOCKS && checker.violation === null; slba += 4) {
      await until(`blocks ${slba} to ${slba + 3} can be read`, () => one(0, false, slba, 4));
    }
  }
  return state;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until something is so; a story that never comes to it says what was expected. */
export async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await is())) {
    if (performance.now() > deadline) throw new Error(`not after 30 s: ${what}`);
    await pause(5);
  }
}
