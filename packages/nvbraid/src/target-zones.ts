import { NvbraidError } from '@nvbraid/base';
import {
  type BlockDevice,
  type DeviceSpec,
  failZone,
  type PreparedDevice,
  type PreparedZoned,
  type ZonedOptions,
  type ZoneGeometry,
  zonedDevice,
} from '@nvbraid/blockdev';
import type { Namespace } from '@nvbraid/target';
import { isOpenDevice } from './data-plane.ts';

/** The device, or the device cut into zones. @throws NvbraidError EINVAL */
export function zonedOrNot(device: DeviceSpec, options: ZonedOptions | undefined): DeviceSpec {
  return options === undefined ? device : zonedDevice(device, options);
}

/** What the control plane must know of a device's zones. */
export function zonesOf(device: PreparedDevice | BlockDevice): { zones?: ZoneGeometry } {
  const zones = isOpenDevice(device) ? device.zones?.geometry : device.zoneGeometry;
  return zones === undefined ? {} : { zones };
}

/**
 * @returns the first block of the zone, null when it was in that state already, or a worse one
 * @throws NvbraidError EINVAL, ENOTSUP, EIO
 */
export async function failZoneOf(namespace: Namespace, slba: number, to: string): Promise<number | null> {
  const { nsid, zones, device } = namespace;
  if (zones === null) throw new NvbraidError('EINVAL', `namespace ${nsid} has no zones`);
  if (!(Number.isSafeInteger(slba) && slba >= 0 && slba < namespace.blockCount)) {
    throw new NvbraidError('EINVAL', `namespace ${nsid} has no block ${slba}`);
  }
  if (to !== 'read-only' && to !== 'offline') {
    throw new NvbraidError('EINVAL', `a zone becomes read-only or offline, not ${JSON.stringify(to)}`);
  }
  if (isOpenDevice(device)) {
    throw new NvbraidError('ENOTSUP', `namespace ${nsid} is an open device, whose zones only its owner can change`);
  }
  const zone = Math.floor(slba / zones.zoneBlocks);
  const changed = await failZone(device as PreparedZoned, zone, to === 'offline' ? 'lose' : 'fail');
  return changed ? zone * zones.zoneBlocks : null;
}
