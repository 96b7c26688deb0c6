import type { Controller } from '@nvbraid/target';
import type { Reactor } from './reactor.ts';
import type { QueueSubflows } from './subflow-watch.ts';
import type { TargetConnections } from './target-connections.ts';

/** A queue of a controller of a target, with its subflows. */
export interface TargetQueueSubflows extends QueueSubflows {
  readonly subnqn: string;
  readonly hostnqn: string;
  readonly cntlid: number;
  readonly portid: number;
}

/** Which threads have the connections of a target. */
export interface SubflowSources {
  readonly connections: TargetConnections;
  readonly reactors: readonly Reactor[];
  controllerOf(association: number): Controller | undefined;
}

/**
 * The subflows of all queues whose transport can have several. Connections are asked by the thread that owns them, one
 * after the other: a reactor is kept from its commands for one of them at a time.
 * @param backup see `Connection.subflows`
 */
export async function targetSubflows(sources: SubflowSources, backup: boolean): Promise<TargetQueueSubflows[]> {
  const { connections, reactors } = sources;
  const found: TargetQueueSubflows[] = [];
  for (const { connection, controller, qid, port } of connections.values()) {
    const report = controller === null ? null : (connection.subflows?.(backup) ?? null);
    if (controller !== null && report !== null) found.push(queueOf(controller, qid, port.portId, report));
  }
  const perReactor = reactors.map(async (reactor) => {
    for (const { owner, qid } of reactor.queuesWithSubflows()) {
      const report = await reactor.subflows(owner.association, qid, backup);
      const controller = sources.controllerOf(owner.association);
      if (report !== null && controller !== undefined) found.push(queueOf(controller, qid, owner.portId, report));
    }
  });
  await Promise.all(perReactor);
  return found.sort((a, b) => compareText(a.subnqn, b.subnqn) || a.cntlid - b.cntlid || a.qid - b.qid);
}

function queueOf(
  { subnqn, hostnqn, cntlid }: Controller,
  qid: number,
  portid: number,
  report: Omit<QueueSubflows, 'qid'>,
): TargetQueueSubflows {
  return { subnqn, hostnqn, cntlid, portid, qid, ...report };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
