import {
  DISABLED_IDLE_MS,
  MAX_CONTROLLERS_PER_HOST,
  MAX_HOSTS,
  MAX_QUEUES_PER_HOST,
  MAX_TARGET_CONTROLLERS,
} from './limits.ts';

/** What hosts may make a control plane remember; each refusal is a Connect that ends with Controller Busy. */
export interface ControlLimits {
  /** Hosts, by NQN, that have a controller. */
  hosts: number;
  /** Controllers of the target, discovery controllers included. */
  controllers: number;
  /** Controllers of one host, discovery controllers included. */
  controllersPerHost: number;
  /** I/O queues of one host, of all its controllers. */
  queuesPerHost: number;
  /** From its creation until a controller is enabled, and then how long it may idle without being enabled, in ms. */
  enableTimeoutMs: number;
}

export const CONTROL_LIMITS: ControlLimits = {
  hosts: MAX_HOSTS,
  controllers: MAX_TARGET_CONTROLLERS,
  controllersPerHost: MAX_CONTROLLERS_PER_HOST,
  queuesPerHost: MAX_QUEUES_PER_HOST,
  enableTimeoutMs: DISABLED_IDLE_MS,
};

/** A limit as logs and counters name it; `subsystemControllers` is the `maxControllers` of a subsystem. */
export type LimitName = keyof ControlLimits | 'subsystemControllers' | 'cntlid';
