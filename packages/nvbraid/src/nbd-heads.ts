import type { NbdExport } from '@nvbraid/nbd';
import { Csi } from '@nvbraid/wire';
import { headAllocation } from './head-allocation.ts';
import { HeadDevice } from './head-device.ts';
import type { HostHead } from './host-head.ts';
import type { HostSubsystem } from './host-subsystem.ts';
import type { NbdServer } from './nbd-server.ts';

/** A head as an NBD export: named as in /dev, and by its subsystem and nsid. */
export function nbdExport(head: HostHead): NbdExport {
  const device = new HeadDevice(head);
  const { nqn } = head.subsystem;
  return {
    name: head.name,
    aliases: [nbdAlias(nqn, head.nsid)],
    description: `namespace ${head.nsid} of ${nqn}`,
    device,
    get writesZeroes() {
      return device.writesZeroes;
    },
    allocation: headAllocation(head),
  };
}

/** The name of an export that does not depend on what else is connected. */
export function nbdAlias(nqn: string, nsid: number): string {
  return `${nqn}/${nsid}`;
}

/** Why a head cannot be a plain disk; null when it can. */
export function notForNbd(head: HostHead): string | null {
  const { csi } = head.descriptors;
  if (csi === Csi.Zoned) return 'it is zoned, and NBD has no words for zones';
  if (csi !== undefined && csi !== Csi.Nvm) return `its command set (${csi}) has no blocks`;
  if (head.info.metadataSize > 0) return 'its blocks have metadata';
  return null;
}

/**
 * Offers the heads of a subsystem by NBD, from now on and as they come and go: one that goes is offered no more, and its
 * clients get EIO; should another take its nsid, it is another export, which they do not see.
 * @param offered kept up to date with what is offered, by nsid
 * @param serves which of them; default all
 * @param changed called whenever there is another set of exports
 */
export function offerHeads(
  server: NbdServer,
  subsystem: HostSubsystem,
  offered = new Map<number, HostHead>(),
  serves: (nsid: number) => boolean = () => true,
  changed: () => void = () => {},
): void {
  const add = (head: HostHead): void => {
    if (!serves(head.nsid) || head.gone !== null || offered.get(head.nsid) === head) return;
    const problem = notForNbd(head);
    if (problem !== null) return void server.emit('log', `namespace ${head.nsid} is not offered: ${problem}`);
    remove(offered.get(head.nsid));
    server.add(nbdExport(head));
    offered.set(head.nsid, head);
    head.on('changed', changed);
    changed();
  };
  const remove = (head: HostHead | undefined): void => {
    if (head === undefined || offered.get(head.nsid) !== head) return;
    offered.delete(head.nsid);
    server.remove(head.name);
    head.off('changed', changed);
    changed();
  };
  subsystem.on('head-added', add);
  subsystem.on('head-removed', remove);
  for (const head of [...subsystem.heads.values()].sort((a, b) => a.nsid - b.nsid)) add(head);
}
