import type { ConnectOptions } from './connect.ts';
import { createTarget, type Target } from './target.ts';
import type { NamespaceConfig } from './target-config.ts';

const ADDRESS = 'local';
const PORT = 4420;

/** A target for its own thread alone: nothing listens on a network. Plain data. */
export interface LocalTarget {
  readonly nqn: string;
  /** In the order of their nsids, from 1 on. */
  readonly namespaces: readonly NamespaceConfig[];
}

/** @throws NvbraidError as `createTarget` and `Target.addNamespace` */
export async function startLocalTarget(
  { nqn, namespaces }: LocalTarget,
  log: (message: string) => void,
): Promise<Target> {
  const target = await createTarget({ reactors: 0 });
  target.on('log', log);
  try {
    target.addSubsystem({ nqn });
    for (const namespace of namespaces) await target.addNamespace(nqn, namespace);
    await target.listen({ transport: 'loop', address: ADDRESS, port: PORT, subsystems: [nqn] });
    return target;
  } catch (error) {
    await target.close();
    throw error;
  }
}

/**
 * How the same thread connects to it. There is no network that could lose a connection or hold back a write: neither Keep
 * Alive nor fences have anything to do.
 */
export function localPath({ nqn }: LocalTarget): Partial<ConnectOptions> & { readonly nqn: string } {
  return {
    nqn,
    paths: [{ transport: 'loop', traddr: ADDRESS, trsvcid: PORT }],
    keepAliveTmo: 0,
    safeFailover: false,
  };
}
