import type { Controller, Port, QueueIdentity, QueuePair } from '@nvbraid/target';
import type { Connection, Endpoint, Transport } from '@nvbraid/transport';
import type { QueueOwner } from './data-plane.ts';
import type { QueueDriver } from './queue-driver.ts';

/** A connection that the main thread has accepted, as long as it lives in this process, whichever thread drives it. */
export interface TargetConnection {
  readonly id: number;
  readonly port: Port;
  readonly transport: Transport;
  readonly connection: Connection;
  readonly queue: QueuePair;
  driver: QueueDriver;
  readonly acceptedMs: number;
  /** Set by Connect. */
  controller: Controller | null;
  qid: number;
  /** An I/O queue that is to leave for a reactor once its Connect is answered. */
  owner: QueueOwner | null;
}

export function sayEndpoint(endpoint: Endpoint): string {
  return endpoint.family === 'ipv6' ? `[${endpoint.address}]:${endpoint.port}` : `${endpoint.address}:${endpoint.port}`;
}

/** What faults can tell queues apart by. */
export function identityOf({ controller, port, qid }: TargetConnection): QueueIdentity {
  return { hostnqn: controller?.hostnqn ?? null, subnqn: controller?.subnqn ?? null, portId: port.portId, qid };
}
