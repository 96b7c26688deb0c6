import { AsyncEventBit, AsyncEventNotice, AsyncEventType, asyncEventDw0, CHANGED_ZONES_MAX, Lid } from '@nvbraid/wire';
import type { AsyncEvent, AsyncEvents } from './async-events.ts';

interface Changes {
  readonly event: AsyncEvent;
  /** First blocks of the zones; one more than the page holds stands for any number. */
  readonly zones: Set<number>;
}

/** Zones that have changed by themselves since a controller's host has read about it, by namespace. */
export class ZoneChanges {
  readonly #namespaces = new Map<number, Changes>();

  /** Told only to hosts that have asked for it; the list is kept for all. */
  changed(nsid: number, zslba: number, events: AsyncEvents): void {
    let changes = this.#namespaces.get(nsid);
    if (changes === undefined) {
      const dw0 = asyncEventDw0(AsyncEventType.Notice, AsyncEventNotice.ZoneDescriptorChanged, Lid.ChangedZoneList);
      const event = { enable: AsyncEventBit.ZoneDescriptor, lid: Lid.ChangedZoneList, dw0, dw1: nsid };
      changes = { event, zones: new Set() };
      this.#namespaces.set(nsid, changes);
    }
    if (changes.zones.size <= CHANGED_ZONES_MAX) changes.zones.add(zslba);
    events.raise(changes.event);
  }

  /** First blocks of the zones of a namespace, ascending. */
  of(nsid: number): number[] {
    return [...(this.#namespaces.get(nsid)?.zones ?? [])].sort((a, b) => a - b);
  }

  /** The host has read about a namespace. */
  read(nsid: number, events: AsyncEvents): void {
    const changes = this.#namespaces.get(nsid);
    if (changes === undefined) return;
    this.#namespaces.delete(nsid);
    events.forget(changes.event);
  }

  clear(): void {
    this.#namespaces.clear();
  }
}
