import { assert } from '@nvbraid/base';
import type { ControlLimits, LimitName } from './control-limits.ts';
import type { Controller } from './controller.ts';

/** What one host, by its NQN, holds of a target: exists as long as it holds anything. */
export class TargetHost {
  readonly hostnqn: string;
  /** Its controllers, those of the discovery subsystem included. */
  readonly controllers = new Set<Controller>();
  /** Its I/O queues, those included whose connection is gone while a device still works for them. */
  queues = 0;

  constructor(hostnqn: string) {
    this.hostnqn = hostnqn;
  }
}

/** Called when a host appears, with its first controller, and when it holds nothing any more. */
export interface HostHooks {
  hostCreated?(host: TargetHost): void;
  hostGone?(host: TargetHost): void;
  /** A limit has refused something to a host. */
  limitMet?(hostnqn: string, limit: LimitName): void;
}

/** The hosts of a target, and what each may hold. */
export class HostTable {
  readonly limits: ControlLimits;
  readonly #hooks: HostHooks;
  readonly #hosts = new Map<string, TargetHost>();
  readonly #own = new Map<string, Partial<ControlLimits>>();

  constructor(limits: ControlLimits, hooks: HostHooks) {
    this.limits = limits;
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#hosts.size;
  }

  get(hostnqn: string): TargetHost | undefined {
    return this.#hosts.get(hostnqn);
  }

  values(): IterableIterator<TargetHost> {
    return this.#hosts.values();
  }

  /** Limits of one host that differ from those of all; what it holds already stays. Null: as all. */
  setOwn(hostnqn: string, limits: Pick<Partial<ControlLimits>, 'controllersPerHost' | 'queuesPerHost'> | null): void {
    if (limits === null) this.#own.delete(hostnqn);
    else this.#own.set(hostnqn, limits);
  }

  /** The limit that stands against another controller of the host, or null. */
  refusesController(hostnqn: string): LimitName | null {
    const host = this.#hosts.get(hostnqn);
    if (host === undefined) return this.#hosts.size >= this.limits.hosts ? this.#met(hostnqn, 'hosts') : null;
    const most = this.#own.get(hostnqn)?.controllersPerHost ?? this.limits.controllersPerHost;
    return host.controllers.size >= most ? this.#met(hostnqn, 'controllersPerHost') : null;
  }

  /** The limit that stands against another I/O queue of the host, or null. */
  refusesQueue(hostnqn: string): LimitName | null {
    const most = this.#own.get(hostnqn)?.queuesPerHost ?? this.limits.queuesPerHost;
    return (this.#hosts.get(hostnqn)?.queues ?? 0) >= most ? this.#met(hostnqn, 'queuesPerHost') : null;
  }

  /** Tells that a limit which somebody else checks has been met. */
  tellMet(hostnqn: string, limit: LimitName): void {
    this.#met(hostnqn, limit);
  }

  #met(hostnqn: string, limit: LimitName): LimitName {
    this.#hooks.limitMet?.(hostnqn, limit);
    return limit;
  }

  controllerCreated(controller: Controller): void {
    const { hostnqn } = controller;
    let host = this.#hosts.get(hostnqn);
    if (host === undefined) {
      host = new TargetHost(hostnqn);
      this.#hosts.set(hostnqn, host);
      this.#hooks.hostCreated?.(host);
    }
    host.controllers.add(controller);
  }

  controllerGone(controller: Controller): void {
    const host = this.#existing(controller);
    host.controllers.delete(controller);
    this.#forget(host);
  }

  queueAdded(controller: Controller): void {
    this.#existing(controller).queues++;
  }

  queueGone(controller: Controller): void {
    const host = this.#existing(controller);
    host.queues--;
    assert(host.queues >= 0, 'more queues gone than added');
    this.#forget(host);
  }

  #existing(controller: Controller): TargetHost {
    const host = this.#hosts.get(controller.hostnqn);
    assert(host !== undefined, 'a controller of an unknown host');
    return host;
  }

  #forget(host: TargetHost): void {
    if (host.controllers.size > 0 || host.queues > 0) return;
    this.#hosts.delete(host.hostnqn);
    this.#hooks.hostGone?.(host);
  }
}
