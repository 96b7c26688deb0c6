import { NvbraidError } from '@nvbraid/base';
import { type ControllerOptions, controllerParts } from './connect-options.ts';
import { HostController } from './host-controller.ts';
import type { HostHead } from './host-head.ts';
import { HostSubsystem, type SubsystemOptions } from './host-subsystem.ts';

export type { ControllerOptions } from './connect-options.ts';

/** One of several ways to a subsystem: what differs from the other options. */
export type PathOptions = Partial<Omit<ControllerOptions, 'nqn' | 'signal'>> & { readonly traddr: string };

/** Options of `connectSubsystem` and `connect`. */
export interface ConnectOptions extends Partial<ControllerOptions>, SubsystemOptions {
  readonly nqn: string;
  /** The ways to the subsystem. Or one, by `traddr`. */
  readonly paths?: readonly PathOptions[];
}

/**
 * Connects to a controller of a subsystem, without multipath. Fulfilled when it is live and its namespaces are known.
 * @throws NvbraidError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EPROTO, EINVAL, EABORTED; NvmeError when Connect is refused
 */
export async function connectController(options: ControllerOptions): Promise<HostController> {
  const { signal } = options;
  const parts = controllerParts(options);
  if (signal?.aborted) throw aborted(options.nqn, signal);
  const controller = new HostController(parts.options, parts.runtime, parts.maxRetries);
  controller.place = parts.place;
  const onAbort = (): void => void controller.disconnect();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await controller.start();
  } catch (error) {
    throw signal?.aborted ? aborted(options.nqn, signal) : error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  return controller;
}

/**
 * Connects to a subsystem by all paths that are named. Fulfilled when at least one of them is live; what becomes of the
 * others is told by `log` events, and they are tried no further.
 * @throws NvbraidError, NvmeError as `connectController`, of the first path, when none could be connected
 */
export async function connectSubsystem(options: ConnectOptions): Promise<HostSubsystem> {
  const { paths, iopolicy, safeFailover, delayedRemovalSecs, controllerNumbers, signal, ...common } = options;
  const ways = paths ?? (options.traddr === undefined ? [] : [{ traddr: options.traddr }]);
  if (ways.length === 0) throw new NvbraidError('EINVAL', 'no path is named: give traddr, or paths');
  if (signal?.aborted) throw aborted(options.nqn, signal);
  const subsystem = new HostSubsystem(options.nqn, {
    ...(iopolicy === undefined ? {} : { iopolicy }),
    ...(safeFailover === undefined ? {} : { safeFailover }),
    ...(delayedRemovalSecs === undefined ? {} : { delayedRemovalSecs }),
    ...(controllerNumbers === undefined ? {} : { controllerNumbers }),
  });
  // What is logged before the caller has the subsystem, and may have begun to listen, is logged then.
  const early: string[] = [];
  const keep = (message: string): void => void early.push(message);
  subsystem.on('log', keep);
  const onAbort = (): void => void subsystem.disconnect();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const results = await Promise.allSettled(ways.map((way) => subsystem.addPath({ ...common, ...way })));
    if (signal?.aborted) throw aborted(options.nqn, signal);
    const failed = results.filter((result) => result.status === 'rejected');
    if (failed.length === results.length) {
      await subsystem.disconnect();
      throw failed[0]!.reason;
    }
    for (const { reason } of failed) early.push(`a path was not connected: ${(reason as Error).message}`);
    setImmediate(() => {
      subsystem.off('log', keep);
      for (const message of early) subsystem.emit('log', message);
    });
    return subsystem;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * Connects to a subsystem and answers one of its namespaces, over all paths that are named: what most programs need.
 * `head.disconnect()` ends it.
 * @param options.nsid default: the lowest that there is
 * @throws as `connectSubsystem`; ENOENT when there is no such namespace
 */
export async function connect(options: ConnectOptions & { readonly nsid?: number }): Promise<HostHead> {
  const { nsid, ...rest } = options;
  const subsystem = await connectSubsystem(rest);
  try {
    const lowest = Math.min(...subsystem.heads.keys());
    if (nsid === undefined && lowest === Number.POSITIVE_INFINITY) {
      const [why = `${options.nqn} has no namespace`] = subsystem.core.refused.values();
      throw new NvbraidError('ENOENT', why);
    }
    return subsystem.head(nsid ?? lowest);
  } catch (error) {
    await subsystem.disconnect();
    throw error;
  }
}

function aborted(nqn: string, signal: AbortSignal): NvbraidError {
  return new NvbraidError('EABORTED', `connecting to ${nqn} was aborted`, { cause: signal.reason });
}
