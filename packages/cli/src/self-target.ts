import { randomUUID } from 'node:crypto';
import { memoryDevice } from '@nvbraid/blockdev';
import { createTarget, type Target } from 'nvbraid';
import type { Address } from './association.ts';

/** A target of our own, in memory, on a port that the system chooses. */
export async function startSelfTarget(
  transport: string,
  size: number,
  blockSize: number,
  reactors: number,
): Promise<{ target: Target; address: Address }> {
  const nqn = 'nqn.2026-01.io.nvbraid:self';
  const target = await createTarget({ reactors });
  try {
    target.addSubsystem({ nqn });
    await target.addNamespace(nqn, { device: memoryDevice({ size, blockSize }), uuid: randomUUID() });
    const port = await target.listen({ transport, address: '127.0.0.1', port: 0, subsystems: [nqn] });
    return { target, address: { transport, traddr: port.address, trsvcid: port.port, nqn } };
  } catch (error) {
    await target.close();
    throw error;
  }
}
