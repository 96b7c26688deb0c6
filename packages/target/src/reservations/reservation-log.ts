import { ReservationNotification, ReservationNotificationLog } from '@nvbraid/wire';
import { MAX_RESERVATION_NOTIFICATIONS } from '../limits.ts';

/** What a notification is about. */
export interface NotifyingNamespace {
  readonly nsid: number;
  readonly instance: number;
}

interface Page {
  readonly lpc: bigint;
  readonly what: ReservationNotification;
  readonly nsid: number;
}

const COUNT_MAX = 0xffff_ffff_ffff_ffffn;

/** Bit of the Reservation Notification Mask feature that keeps a notification out. */
function maskBit(what: ReservationNotification): number {
  return 1 << what;
}

/** Bits that the Reservation Notification Mask feature has. */
export const RESERVATION_MASKS =
  maskBit(ReservationNotification.RegistrationPreempted) |
  maskBit(ReservationNotification.ReservationReleased) |
  maskBit(ReservationNotification.ReservationPreempted);

/**
 * The Reservation Notification log of one controller (Base 2.1, 5.1.12.1.32): its host reads one notification after the
 * other, oldest first. A host that does not read loses the oldest, and sees by the count that it has.
 */
export class ReservationLog {
  readonly #pages: Page[] = [];
  /** By instance: a namespace that gets an old nsid starts without a mask. */
  readonly #masks = new Map<number, number>();
  #count: bigint;

  /** @param count notifications that there were before, for tests of the wrap */
  constructor(count = 0n) {
    this.#count = count;
  }

  /** Notifications that were not read. */
  get available(): number {
    return this.#pages.length;
  }

  /** The Reservation Notification Mask feature of a namespace. */
  mask(namespace: NotifyingNamespace): number {
    return this.#masks.get(namespace.instance) ?? 0;
  }

  setMask(namespace: NotifyingNamespace, mask: number): void {
    if (mask === 0) this.#masks.delete(namespace.instance);
    else this.#masks.set(namespace.instance, mask);
  }

  /** The namespace is gone. */
  forget(namespace: NotifyingNamespace): void {
    this.#masks.delete(namespace.instance);
  }

  /** @returns false when the host does not want to know */
  add(namespace: NotifyingNamespace, what: ReservationNotification): boolean {
    if ((this.mask(namespace) & maskBit(what)) !== 0) return false;
    this.#count = this.#count === COUNT_MAX ? 1n : this.#count + 1n;
    this.#pages.push({ lpc: this.#count, what, nsid: namespace.nsid });
    if (this.#pages.length > MAX_RESERVATION_NOTIFICATIONS) this.#pages.shift();
    return true;
  }

  /** The oldest notification that was not read; an empty page when there is none. */
  page(): Uint8Array {
    const first = this.#pages[0];
    if (first === undefined) return ReservationNotificationLog.toBytes({});
    const { lpc, what, nsid } = first;
    return ReservationNotificationLog.toBytes({ lpc, rnlpt: what, nalp: Math.min(255, this.#pages.length - 1), nsid });
  }

  /** The page was read. */
  drop(): void {
    this.#pages.shift();
  }

  /** Controller reset. */
  reset(): void {
    this.#pages.length = 0;
    this.#masks.clear();
    this.#count = 0n;
  }
}
