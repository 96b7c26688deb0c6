import type { Rng } from '@nvbraid/base';
import type { NamespaceConfig, TargetOptions } from 'nvbraid';
import {
  connectController,
  createTarget,
  type HistoryChecker,
  type HostNamespace,
  type Target,
  type TargetPort,
} from 'nvbraid';

export const NQN = 'nqn.2026-01.org.nvbraid:e2e';

export interface Served {
  target: Target;
  port: TargetPort;
}

/** A target with one namespace on a port of its own. */
export async function serve(config: NamespaceConfig, options: TargetOptions = {}): Promise<Served> {
  const target = await createTarget(options);
  target.addSubsystem({ nqn: NQN });
  await target.addNamespace(NQN, config);
  const port = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
  return { target, port };
}

export function attach(
  port: { address: string; port: number },
  options: object = {},
): ReturnType<typeof connectController> {
  return connectController({ traddr: port.address, trsvcid: port.port, nqn: NQN, ...options });
}

export interface WorkloadOptions {
  history: HistoryChecker;
  rng: Rng;
  writers: number;
  /** Blocks that the writers share, from LBA 0. */
  region: number;
  maxBlocks?: number;
  /** Of 1: operations that are reads; of the writes: with FUA; of all: a Flush instead. */
  reads?: number;
  fua?: number;
  flushes?: number;
  running(): boolean;
}

/** Several overlapping writers and readers until `running` says no; operations that fail end their worker. */
export async function hammer(ns: HostNamespace, options: WorkloadOptions): Promise<void> {
  const { history, rng, region } = options;
  const worker = async (writer: number): Promise<void> => {
    const buffer = Buffer.alloc((options.maxBlocks ?? 4) * ns.blockSize);
    while (options.running()) {
      const blocks = rng.between(1, options.maxBlocks ?? 4);
      const slba = rng.below(region - blocks + 1);
      const part = buffer.subarray(0, blocks * ns.blockSize);
      if (rng.chance(options.flushes ?? 0)) {
        const ticket = history.beginFlush();
        try {
          await ns.flush();
          history.completeFlush(ticket);
        } catch {
          return;
        }
      } else if (rng.chance(options.reads ?? 0.3)) {
        const ticket = history.beginRead(slba, blocks);
        try {
          await ns.read(slba, part);
        } catch {
          history.failRead(ticket);
          return;
        }
        history.completeRead(ticket, part);
      } else {
        const fua = rng.chance(options.fua ?? 0);
        const ticket = history.beginWrite(writer, slba, blocks, part);
        try {
          await ns.write(slba, part, { fua });
        } catch {
          // The target died: whatever it had not done by now it never does.
          history.failWrite(ticket);
          return;
        }
        history.completeWrite(ticket, fua);
      }
    }
  };
  await Promise.all(Array.from({ length: options.writers }, (_, writer) => worker(writer)));
}

/** Reads the region back, each block judged. */
export async function readBack(ns: HostNamespace, history: HistoryChecker, region: number): Promise<void> {
  const buffer = Buffer.alloc(ns.blockSize);
  for (let lba = 0; lba < region; lba++) {
    const ticket = history.beginRead(lba, 1);
    await ns.read(lba, buffer);
    history.completeRead(ticket, buffer);
  }
}

export function explain(history: HistoryChecker): string {
  const { violation } = history;
  return violation === null ? '' : [violation.message, ...violation.history].join('\n  ');
}

export function seed(): number {
  const value = Number(process.env.NVBRAID_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`seed ${value} (NVBRAID_SEED=${value} repeats it)`);
  return value;
}
