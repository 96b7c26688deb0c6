import { NvbraidError } from '@nvbraid/base';
import { type BlockDevice, type PreparedDevice, statePath } from '@nvbraid/blockdev';
import type { Namespace, ReservationOptions, ReservationState } from '@nvbraid/target';
import { backingOf } from './backing.ts';
import { readReservations, writeReservations } from './reservation-file.ts';
import type { StateWrites } from './state-writes.ts';

/** What decides whether, and how, a namespace has reservations. */
export interface ReservationConfig {
  /** Hosts can register with the namespace and reserve it. Default: true, unless other processes serve its file too. */
  reservations?: boolean;
}

/** Keeps reservations through a power loss: reads them when a namespace comes, writes them before they change. */
export class ReservationService {
  readonly #stateDirectory: string | null;
  readonly #log: (message: string) => void;
  readonly #writes: StateWrites;

  /** @param stateDirectory for the state of block devices, which ends with the process where it is null */
  constructor(stateDirectory: string | null, writes: StateWrites, log: (message: string) => void) {
    this.#stateDirectory = stateDirectory;
    this.#writes = writes;
    this.#log = log;
  }

  /**
   * What a new namespace is to be made with.
   * @param wanted as in `ReservationConfig`
   * @throws NvbraidError EINVAL, EACCES, EIO when its state was kept and cannot be had; EINVAL when other processes serve
   * its file and reservations are asked for
   */
  async options(
    device: PreparedDevice | BlockDevice,
    wanted: boolean | undefined,
  ): Promise<ReservationOptions | false> {
    const backing = backingOf(device);
    if (backing?.shared === true && wanted === true) {
      throw new NvbraidError(
        'EINVAL',
        `${backing.path} is served by other processes too (shared), which would not know of its reservations: leave out one of both`,
      );
    }
    if (wanted === false || backing?.shared === true) return false;
    if (backing === null) return {};
    const { path, blockDevice } = backing;
    const place = statePath(path, blockDevice, 'reservations', this.#stateDirectory);
    if (place === null) return {};
    const restored = await readReservations(place);
    return restored === null ? { place } : { place, restored };
  }

  /** The hook of the control plane. */
  save(namespace: Namespace, state: ReservationState, done: (saved: boolean) => void): void {
    const { place } = namespace.reservations!;
    this.#writes.add(
      place!,
      () => writeReservations(place!, namespace.uuid, state),
      (message) =>
        this.#log(
          `the reservations of namespace ${namespace.nsid} stay as they were, the host is told Internal Error: ${message}`,
        ),
      done,
    );
  }
}
