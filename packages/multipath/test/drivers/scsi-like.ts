/*
 * A driver in the manner of SCSI: logical units behind target ports in ALUA port groups, results of host and sense
 * codes, bios that are cloned from a pool, and devices that answer requests piece by piece.
 */
import type { Clock } from '@nvbraid/base';
import {
  AccessState,
  ActiveCounter,
  Bio,
  BioStatus,
  Disposition,
  Head,
  type HeadTemplate,
  Iopolicy,
  Outcome,
  Path,
  type ReservationOps,
} from '../../src/index.ts';

export type AluaState = 'optimized' | 'non-optimized' | 'standby' | 'unavailable' | 'transitioning';
/** Host code and sense: what a command came back with. */
export type Result = 'good' | 'transport disrupted' | 'not ready' | 'unit attention' | 'medium error' | 'no connect';

const BLOCK = 512;
const CLONES = 64;

export class ScsiBio extends Bio {
  write = false;
  data: Uint8Array = new Uint8Array(0);
  /** In a clone: bytes that the device has done. */
  done = 0;
}

export class ScsiPath extends Path {
  readonly unit: ScsiUnit;
  readonly portGroup: number;
  /** Blocked while the transport hopes for its port, offline when it has given up. */
  state: 'running' | 'blocked' | 'offline' = 'running';
  registered = 0n;

  constructor(unit: ScsiUnit, name: string, portGroup: number, nrActive: ActiveCounter) {
    super({ name, nrActive });
    this.unit = unit;
    this.portGroup = portGroup;
    const reservations: Partial<ReservationOps> = {
      register: (_oldKey, newKey) => {
        this.registered = newKey;
      },
    };
    this.disk = {
      name,
      capacityBytes: unit.media.length,
      added: true,
      reservations,
      getUniqueId: (id) => {
        id.set(unit.wwid);
        return unit.wwid.length;
      },
    };
  }
}

/** One logical unit, known by its identifier, and its head. */
export class ScsiUnit {
  readonly wwid = Uint8Array.of(0x60, 1, 2, 3);
  readonly media: Uint8Array;
  readonly head: Head<ScsiPath, ScsiBio>;
  readonly alua = new Map<number, AluaState>();
  readonly logs: string[] = [];
  readonly faults: Result[] = [];
  removed = false;
  clonesOut = 0;
  readonly #pool = Array.from({ length: CLONES }, () => new ScsiBio());
  #flying: { path: ScsiPath; bio: ScsiBio }[] = [];

  constructor(clock: Clock, blocks: number) {
    this.media = new Uint8Array(blocks * BLOCK);
    this.head = new Head<ScsiPath, ScsiBio>({
      name: 'scsi_mpath_disk0',
      template: this.#template(),
      iopolicy: new Iopolicy({ initial: 'round-robin' }),
      clock,
      log: (line) => this.logs.push(line),
    });
    this.head.allocDisk({ name: 'sda', parent: this, capacityBytes: this.media.length });
  }

  get flying(): number {
    return this.#flying.length;
  }

  addPath(name: string, portGroup: number, nrActive = new ActiveCounter()): ScsiPath {
    const path = new ScsiPath(this, name, portGroup, nrActive);
    this.head.addPath(path);
    this.checkAlua();
    return path;
  }

  /** REPORT TARGET PORT GROUPS for all paths. */
  checkAlua(): void {
    for (const path of this.head.paths) {
      const state = this.alua.get(path.portGroup) ?? 'transitioning';
      path.accessState =
        state === 'optimized'
          ? AccessState.Optimized
          : state === 'non-optimized'
            ? AccessState.NonOptimized
            : AccessState.Other;
      if (path.accessState === AccessState.Other) this.head.clearCurrentPath(path);
      else if (path.state === 'running') this.head.setLive(path);
    }
    this.head.kickRequeue();
  }

  block(path: ScsiPath): void {
    path.state = 'blocked';
    this.head.clearCurrentPath(path);
    this.#fail((flight) => flight.path === path, 'transport disrupted');
  }

  unblock(path: ScsiPath): void {
    path.state = 'running';
    this.checkAlua();
  }

  offline(path: ScsiPath): void {
    this.block(path);
    path.state = 'offline';
    this.head.kickRequeue();
  }

  /** The device works on all commands; on each of them no more than `bytes` bytes. */
  run(bytes = Number.POSITIVE_INFINITY): void {
    for (const flight of [...this.#flying]) {
      const { path, bio } = flight;
      const state = this.alua.get(path.portGroup) ?? 'transitioning';
      const fault = this.faults.shift() ?? 'good';
      if (fault !== 'good') this.#end(flight, fault);
      else if (state !== 'optimized' && state !== 'non-optimized') this.#end(flight, 'not ready');
      else {
        const some = Math.min(bytes, bio.bytes - bio.done);
        const at = bio.offset + bio.done;
        if (bio.write) this.media.set(bio.data.subarray(bio.done, bio.done + some), at);
        else bio.data.set(this.media.subarray(at, at + some), bio.done);
        bio.done += some;
        if (bio.done === bio.bytes) this.#end(flight, 'good');
      }
    }
  }

  #fail(which: (flight: { path: ScsiPath; bio: ScsiBio }) => boolean, result: Result): void {
    for (const flight of this.#flying.filter(which)) this.#end(flight, result);
  }

  #end(flight: { path: ScsiPath; bio: ScsiBio }, result: Result): void {
    this.#flying = this.#flying.filter((other) => other !== flight);
    const [outcome, status] = MEANING[result];
    if (this.head.endBio(flight.bio, outcome, status) !== Disposition.Retry) return;
    flight.bio.done = 0;
    this.#flying.push(flight);
  }

  #template(): HeadTemplate<ScsiPath, ScsiBio> {
    return {
      isDisabled: ({ state }) => state !== 'running',
      isOptimized: ({ state, accessState }) => state === 'running' && accessState === AccessState.Optimized,
      availablePath: ({ state }) => state !== 'offline',
      submitBio: (path, bio) => {
        this.#flying.push({ path, bio });
      },
      removeHead: () => {
        this.removed = true;
      },
      cloneBio: (bio) => {
        const clone = this.#pool.pop();
        if (clone === undefined) return null;
        this.clonesOut++;
        clone.write = bio.write;
        clone.data = bio.data;
        clone.done = 0;
        return clone;
      },
      freeClone: (clone) => {
        this.clonesOut--;
        this.#pool.push(clone);
      },
      failover: (path, _bio, _outcome) => {
        // The port group says by its next report what it is good for.
        if (path.accessState === AccessState.Optimized && this.alua.get(path.portGroup) !== 'optimized') {
          path.accessState = AccessState.Other;
        }
      },
      reservationsPerNexus: true,
    };
  }
}

const MEANING: Record<Result, [Outcome, BioStatus]> = {
  good: [Outcome.Ok, BioStatus.Ok],
  'transport disrupted': [Outcome.PathError, BioStatus.Transport],
  'no connect': [Outcome.PathError, BioStatus.Transport],
  'not ready': [Outcome.PathError, BioStatus.Transport],
  'unit attention': [Outcome.Retryable, BioStatus.IoError],
  'medium error': [Outcome.Final, BioStatus.Medium],
};
