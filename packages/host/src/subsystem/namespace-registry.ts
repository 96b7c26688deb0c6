import { Csi, type NamespaceIds } from '@nvbraid/wire';
import type { NamespaceInfo } from '../namespace-info.ts';
import type { HostSubsystem } from './host-subsystem.ts';
import type { NamespaceHead } from './namespace-head.ts';

/**
 * Identifiers of the disks that this host uses, over all subsystems. Two namespaces must not be the same disk: who uses both
 * would take one for two. A subsystem that is connected to twice, each time with a head for the namespace, is what it looks
 * like, and allowed.
 */
export class NamespaceRegistry {
  readonly #owners = new Map<string, Set<NamespaceHead>>();
  /** What was refused may be used when an owner goes. */
  readonly #refused = new Set<HostSubsystem>();

  /**
   * The head of another namespace that has one of these identifiers already. Who asks in vain hears when to ask again:
   * `offerAgain`.
   */
  conflict(
    { nsid, descriptors }: NamespaceInfo,
    asks: HostSubsystem,
  ): { readonly id: string; readonly head: NamespaceHead } | null {
    for (const id of idTexts(descriptors)) {
      for (const head of this.#owners.get(id) ?? []) {
        if (head.nsid === nsid && head.subsystem !== asks && head.subsystem.nqn === asks.nqn) continue;
        this.#refused.add(asks);
        return { id, head };
      }
    }
    return null;
  }

  add(head: NamespaceHead): void {
    for (const id of idTexts(head.info.descriptors)) {
      const owners = this.#owners.get(id);
      if (owners === undefined) this.#owners.set(id, new Set([head]));
      else owners.add(head);
    }
  }

  delete(head: NamespaceHead): void {
    for (const [id, owners] of this.#owners) if (owners.delete(head) && owners.size === 0) this.#owners.delete(id);
    const refused = [...this.#refused];
    this.#refused.clear();
    for (const subsystem of refused) subsystem.offerAgain();
  }

  /** A subsystem that does not want anything any more. */
  forget(subsystem: HostSubsystem): void {
    this.#refused.delete(subsystem);
  }
}

/** The same disk: identical identifiers, of the same command set. */
export function sameIds(a: NamespaceIds, b: NamespaceIds): boolean {
  return a === b || ((a.csi ?? Csi.Nvm) === (b.csi ?? Csi.Nvm) && idTexts(a).join() === idTexts(b).join());
}

/** `nguid 0102…`; identifiers of zeroes are none. */
function idTexts({ eui64, nguid, uuid }: NamespaceIds): string[] {
  const texts = { eui64: hex(eui64), nguid: hex(nguid), uuid: uuid ?? '' };
  return Object.entries(texts).flatMap(([name, text]) => (/[^0-]/.test(text) ? [`${name} ${text}`] : []));
}

function hex(bytes: Uint8Array = new Uint8Array(0)): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
