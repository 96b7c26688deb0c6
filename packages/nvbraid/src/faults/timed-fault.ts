import type { Timers } from '@nvbraid/base';
import {
  type Controller,
  FaultCounter,
  MAX_STORM_CONTROLLERS,
  type Port,
  type PublishedFault,
  type Target as TargetCore,
} from '@nvbraid/target';
import { ANA_STATE_NAMES, type AnaState } from '@nvbraid/wire';

/** A fault that the control plane makes at intervals: an ANA group that flaps, a storm of asynchronous events. */
export class TimedFault {
  readonly #core: TargetCore;
  readonly #fault: PublishedFault;
  readonly #timers: Timers;
  readonly #words: Int32Array;
  /** The states that groups had before. */
  readonly #before = new Map<Port, AnaState>();
  #cancel: () => void;

  constructor(core: TargetCore, fault: PublishedFault, timers: Timers) {
    this.#core = core;
    this.#fault = fault;
    this.#timers = timers;
    this.#words = new Int32Array(fault.counters);
    // Not inside the call that asks for it: the first change comes as all others do.
    this.#cancel = timers.after(0, () => this.#tick());
  }

  /** Groups get the state back that they had. */
  stop(): void {
    this.#cancel();
    for (const [port, state] of this.#before) port.setAnaState(this.#fault.settings.group, state);
    this.#before.clear();
  }

  #tick(): void {
    const left = Atomics.load(this.#words, FaultCounter.Left);
    if (left === 0) return;
    if (left > 0) Atomics.sub(this.#words, FaultCounter.Left, 1);
    Atomics.add(this.#words, FaultCounter.Hits, 1);
    if (this.#fault.settings.action === 'ana-flap') this.#flap();
    else this.#storm();
    this.#cancel = this.#timers.after(this.#fault.settings.interval, () => this.#tick());
  }

  #flap(): void {
    const { port: portId, group, state } = this.#fault.settings;
    const flapped = Number(Object.entries(ANA_STATE_NAMES).find(([, name]) => name === state)![0]) as AnaState;
    for (const port of this.#core.ports) {
      if (portId !== null && port.portId !== portId) continue;
      const before = this.#before.get(port);
      if (before === undefined) {
        this.#before.set(port, port.anaState(group));
        port.setAnaState(group, flapped);
      } else port.setAnaState(group, port.anaState(group) === flapped ? before : flapped);
    }
  }

  #storm(): void {
    let count = 0;
    for (const controller of this.#controllers()) {
      if (count++ >= MAX_STORM_CONTROLLERS) return;
      if (this.#fault.settings.event === 'ana') controller.anaChanged();
      else for (const { nsid } of controller.subsystem?.namespaces ?? []) controller.namespaceChanged(nsid);
    }
  }

  *#controllers(): Generator<Controller> {
    const { host, subsystem: nqn, port } = this.#fault.settings;
    for (const subsystem of this.#core.subsystems) {
      if (nqn !== null && subsystem.nqn !== nqn) continue;
      for (const controller of subsystem.controllers.values()) {
        if (host !== null && controller.hostnqn !== host) continue;
        if (port === null || controller.port.portId === port) yield controller;
      }
    }
  }
}
