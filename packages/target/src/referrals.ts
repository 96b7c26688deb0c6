import { NvbraidError } from '@nvbraid/base';
import { Treq } from '@nvbraid/wire';
import { MAX_REFERRALS } from './limits.ts';
import { type AddressOptions, addressOf, type TransportAddress } from './transport-address.ts';

/** A discovery service elsewhere that the log of a port points to. Plain data. */
export interface ReferralOptions extends AddressOptions {
  /** The port identifier over there, 0 … 65535. Default 0. */
  readonly portId?: number;
  readonly treq?: number;
  /** Default true. */
  readonly enabled?: boolean;
}

export interface Referral extends TransportAddress {
  readonly name: string;
  readonly portId: number;
  readonly treq: number;
  readonly enabled: boolean;
}

/**
 * The referrals of one port, by name. Those that are enabled stand in its discovery log. Whether referrals lead in a
 * circle is for hosts to notice: a target cannot see what is behind an address.
 */
export class Referrals {
  readonly #referrals = new Map<string, Referral>();
  readonly #changed: () => void;

  /** @param changed called when the discovery log of the port is another one */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get(name: string): Referral | undefined {
    return this.#referrals.get(name);
  }

  values(): IterableIterator<Referral> {
    return this.#referrals.values();
  }

  get enabled(): Referral[] {
    return [...this.#referrals.values()].filter((referral) => referral.enabled);
  }

  /** @throws NvbraidError EINVAL, EBUSY when the name is taken */
  add(name: string, options: ReferralOptions): Referral {
    if (this.#referrals.has(name)) throw new NvbraidError('EBUSY', `referral ${name} exists`, { retryable: false });
    if (this.#referrals.size >= MAX_REFERRALS) {
      throw new NvbraidError('EINVAL', `a port has at most ${MAX_REFERRALS} referrals`);
    }
    const referral = made(name, options);
    this.#referrals.set(name, referral);
    if (referral.enabled) this.#changed();
    return referral;
  }

  /** @throws NvbraidError EACCES while it is enabled, EINVAL, ENOENT */
  configure(name: string, options: Omit<ReferralOptions, 'enabled'>): void {
    if (this.#existing(name).enabled) {
      throw new NvbraidError('EACCES', `referral ${name} is enabled: disable it before you change its address`);
    }
    this.#referrals.set(name, made(name, { ...options, enabled: false }));
  }

  /** @throws NvbraidError ENOENT */
  setEnabled(name: string, enabled: boolean): void {
    const referral = this.#existing(name);
    if (referral.enabled === enabled) return;
    this.#referrals.set(name, { ...referral, enabled });
    this.#changed();
  }

  /** @throws NvbraidError ENOENT */
  remove(name: string): void {
    const { enabled } = this.#existing(name);
    this.#referrals.delete(name);
    if (enabled) this.#changed();
  }

  #existing(name: string): Referral {
    const referral = this.#referrals.get(name);
    if (referral === undefined) throw new NvbraidError('ENOENT', `there is no referral ${name}`);
    return referral;
  }
}

function made(name: string, options: ReferralOptions): Referral {
  const { portId = 0, treq = Treq.NotSpecified, enabled = true } = options;
  if (!(Number.isInteger(portId) && portId >= 0 && portId <= 0xffff)) {
    throw new NvbraidError('EINVAL', `port identifier of referral ${name} is 0 to 65535: ${portId}`);
  }
  return { name, ...addressOf(options), portId, treq, enabled };
}
