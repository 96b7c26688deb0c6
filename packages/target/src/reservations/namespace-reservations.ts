import { NvbraidError } from '@nvbraid/base';
import { DNR, reservationStatusExtended, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Namespace } from '../namespace.ts';
import type { Subsystem } from '../subsystem.ts';
import {
  holds,
  NO_RESERVATIONS,
  type ReservationCommand,
  type ReservationNotice,
  type ReservationOutcome,
  type ReservationState,
  runReservationCommand,
} from './reservation-state.ts';

export interface ReservationOptions {
  /**
   * Where the state survives the process, so that Persist Through Power Loss can be switched on: for the hook that saves
   * it, and for sentences to a person. Absent: there is no such place.
   */
  readonly place?: string;
  /** What was kept there. */
  readonly restored?: RestoredReservations;
}

/** State that was kept for a namespace. */
export interface RestoredReservations {
  readonly state: ReservationState;
  /** Of the namespace that it belongs to. */
  readonly uuid: string;
}

type Done = (status: number) => void;

interface Change {
  decide(state: ReservationState): ReservationOutcome;
  /** False when who asked for it is gone. */
  wanted(): boolean;
  readonly done: Done;
}

/** Dynamic controllers are reported without their identifiers (Base 2.1, 7.8). */
const CNTLID_DYNAMIC = 0xffff;

/**
 * The reservations of one namespace. Changes are made one after the other, each in these steps: decide; make it stable
 * when it must survive; publish; wait until every thread works with it and what was executing has ended; tell other
 * hosts; answer. A step that fails leaves the state as it was.
 */
export class NamespaceReservations {
  readonly place: string | null;
  readonly #namespace: Namespace;
  #state: ReservationState;
  readonly #waiting: Change[] = [];
  #busy = false;
  #pumping = false;
  #removed = false;

  /** @throws NvbraidError EINVAL when the state belongs to another namespace: it must neither hold here nor be lost */
  constructor(namespace: Namespace, options: ReservationOptions) {
    const { place = null, restored } = options;
    if (restored !== undefined && restored.uuid.toLowerCase() !== namespace.uuid.toLowerCase()) {
      throw new NvbraidError(
        'EINVAL',
        `${place} keeps the reservations of the namespace with UUID ${restored.uuid}, not of ${namespace.uuid}: give the namespace that UUID, or delete the file to start without reservations`,
      );
    }
    this.#namespace = namespace;
    this.place = place;
    this.#state = restored?.state ?? NO_RESERVATIONS;
  }

  /** The Persist Through Power Loss state can be set. */
  get persistent(): boolean {
    return this.place !== null;
  }

  get state(): ReservationState {
    return this.#state;
  }

  /** Changes that are not answered yet. */
  get pending(): number {
    return this.#waiting.length + (this.#busy ? 1 : 0);
  }

  /** Runs a command of a host; `done` is called once, now or later, with its status. */
  run(subsystem: Subsystem, controller: Controller, command: ReservationCommand, done: Done): void {
    const { hostid } = controller;
    // RHII: without an identifier a host would be another one after each reset.
    if (hostid === '') return done(Status.HostIdentifierNotInitialized | DNR);
    this.#enqueue(subsystem, {
      decide: (state) => runReservationCommand(state, hostid, command, this.persistent),
      wanted: () => controller.state !== 'gone',
      done,
    });
  }

  /** Sets the Persist Through Power Loss state, as the feature does. */
  setPtpl(subsystem: Subsystem, controller: Controller, ptpl: boolean, done: Done): void {
    if (ptpl && !this.persistent) return done(Status.InvalidField | DNR);
    this.#enqueue(subsystem, {
      decide: (state) => ({ status: 0, state: state.ptpl === ptpl ? state : { ...state, ptpl }, notices: [] }),
      wanted: () => controller.state !== 'gone',
      done,
    });
  }

  /** The extended Reservation Status data structure, of which no more than `bytes` bytes are wanted. */
  report(bytes: number): Uint8Array {
    const { generation, ptpl, rtype, registrants } = this.#state;
    const page = reservationStatusExtended({
      gen: generation,
      rtype,
      ptpls: ptpl ? 1 : 0,
      registrants: [...registrants].map(([hostid, rkey]) => ({
        cntlid: CNTLID_DYNAMIC,
        holder: holds(this.#state, hostid),
        rkey,
        hostid,
      })),
    });
    return page.slice(0, bytes);
  }

  /** The namespace is gone: what waits ends, nothing is published any more. */
  removed(): void {
    this.#removed = true;
    for (const { done } of this.#waiting.splice(0)) done(Status.InvalidNamespaceOrFormat | DNR);
  }

  #enqueue(subsystem: Subsystem, change: Change): void {
    if (this.#removed) return change.done(Status.InvalidNamespaceOrFormat | DNR);
    this.#waiting.push(change);
    this.#pump(subsystem);
  }

  /** A loop, so that a long line of changes that end at once is no deep stack. */
  #pump(subsystem: Subsystem): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#busy && this.#waiting.length > 0) this.#begin(subsystem, this.#waiting.shift()!);
    this.#pumping = false;
  }

  #begin(subsystem: Subsystem, change: Change): void {
    this.#busy = true;
    if (!change.wanted()) return this.#end(subsystem, change, Status.SqDeletionAbort);
    const outcome = change.decide(this.#state);
    if (outcome.state === this.#state) return this.#end(subsystem, change, outcome.status);
    const kept = outcome.state.ptpl || this.#state.ptpl;
    const save = subsystem.target.hooks.saveReservations;
    if (!kept || save === undefined) return this.#apply(subsystem, change, outcome);
    save.call(subsystem.target.hooks, this.#namespace, outcome.state, (saved) => {
      if (this.#removed) this.#end(subsystem, change, Status.InvalidNamespaceOrFormat | DNR);
      else if (!saved) this.#end(subsystem, change, Status.InternalError);
      else this.#apply(subsystem, change, outcome);
    });
  }

  #apply(subsystem: Subsystem, change: Change, outcome: ReservationOutcome): void {
    this.#state = outcome.state;
    subsystem.reservationsChanged();
    const finish = (): void => {
      this.#tell(subsystem, outcome.notices);
      this.#end(subsystem, change, outcome.status);
    };
    const { hooks } = subsystem.target;
    if (hooks.drain === undefined) finish();
    else hooks.drain(this.#namespace, finish);
  }

  #tell(subsystem: Subsystem, notices: readonly ReservationNotice[]): void {
    for (const { hostid, what } of notices) {
      for (const controller of subsystem.controllers.values()) {
        if (controller.hostid === hostid && this.#namespace.visibleTo(controller.hostnqn))
          controller.reservationNotice(this.#namespace, what);
      }
    }
  }

  #end(subsystem: Subsystem, change: Change, status: number): void {
    this.#busy = false;
    change.done(status);
    this.#pump(subsystem);
  }
}
