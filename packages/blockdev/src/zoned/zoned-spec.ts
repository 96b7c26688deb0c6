import { NvbraidError } from '@nvbraid/base';
import type { DeviceSpec, PreparedDevice } from '../block-device.ts';
import { MAX_ZONE_BLOCKS, MAX_ZONES } from '../limits.ts';
import type { ZoneGeometry } from './zone-table.ts';

/** How a device is to be cut into zones. Plain data. */
export interface ZonedOptions {
  /** Bytes from the start of one zone to that of the next: a power of two, a whole number of blocks. */
  zoneSize: number;
  /** Bytes of a zone that can be written, a whole number of blocks. Default: all of it. */
  zoneCapacity?: number;
  /** Zones that may be open at a time. Default 0: as many as may be active. */
  maxOpen?: number;
  /** Zones that may be open or closed at a time. Default 0: no limit. */
  maxActive?: number;
  /** Where the states of the zones are kept when the device below is a block device. */
  stateDirectory?: string;
}

export interface ZonedSpec extends DeviceSpec {
  readonly kind: 'zoned';
  readonly lower: DeviceSpec;
  readonly zoneSize: number;
  readonly zoneCapacity: number;
  readonly maxOpen: number;
  readonly maxActive: number;
  readonly stateDirectory: string | null;
}

export interface PreparedZoned extends ZonedSpec, PreparedDevice {
  readonly kind: 'zoned';
  readonly lower: PreparedDevice;
  readonly zoneGeometry: ZoneGeometry;
  /** See ZoneTable: shared by all threads. */
  readonly table: SharedArrayBuffer;
  /** The file that keeps the zones; null when they end with the process. */
  readonly zonesPath: string | null;
  readonly zonesFd: number;
  /** One word, 1 after a failure to keep a zone: shared by all threads. */
  readonly failed: SharedArrayBuffer;
  readonly native: boolean;
}

const KNOWN = new Set(['zoneSize', 'zoneCapacity', 'maxOpen', 'maxActive', 'stateDirectory']);

/**
 * A device that is written zone by zone, each from its start on, over any other device: what SMR disks and zoned SSDs
 * are. Belongs on top of all filters.
 * @throws NvbraidError EINVAL
 */
export function zonedDevice(lower: DeviceSpec, options: ZonedOptions): ZonedSpec {
  checkOptions(options);
  checkLower(lower);
  const { zoneSize, zoneCapacity = zoneSize, maxActive = 0, stateDirectory = null } = options;
  const maxOpen = options.maxOpen === undefined || options.maxOpen === 0 ? maxActive : options.maxOpen;
  return { kind: 'zoned', lower, zoneSize, zoneCapacity, maxOpen, maxActive, stateDirectory };
}

function checkOptions(options: ZonedOptions): void {
  for (const name of Object.keys(options)) {
    refuseUnless(KNOWN.has(name), `zones have no option "${name}" (known: ${[...KNOWN].join(', ')})`);
  }
  const { zoneSize, zoneCapacity = zoneSize, maxOpen = 0, maxActive = 0 } = options;
  refuseUnless(
    Number.isSafeInteger(zoneSize) && zoneSize > 0 && 2 ** Math.round(Math.log2(zoneSize)) === zoneSize,
    `zone size ${zoneSize} is not a power of two (hosts expect one)`,
  );
  refuseUnless(
    Number.isSafeInteger(zoneCapacity) && zoneCapacity > 0 && zoneCapacity <= zoneSize,
    `zone capacity ${zoneCapacity} is not from one block to the zone size, ${zoneSize}`,
  );
  refuseUnless(isCount(maxOpen), `the number of open zones is a whole number, 0 for no limit: ${maxOpen}`);
  refuseUnless(isCount(maxActive), `the number of active zones is a whole number, 0 for no limit: ${maxActive}`);
  refuseUnless(
    maxActive === 0 || maxOpen <= maxActive,
    `open zones are active ones: with at most ${maxActive} active zones, ${maxOpen} open ones cannot be`,
  );
  const { stateDirectory } = options;
  refuseUnless(
    stateDirectory === undefined || (typeof stateDirectory === 'string' && stateDirectory !== ''),
    'the state directory of zones is a path',
  );
}

/** Zones of a file that other processes write too would be wrong as soon as they did. */
function checkLower(lower: DeviceSpec): void {
  for (let spec: DeviceSpec | undefined = lower; spec !== undefined; spec = lowerOf(spec)) {
    refuseUnless(spec.kind !== 'zoned', 'a zoned device cannot be cut into zones once more');
    refuseUnless(
      (spec as { shared?: boolean }).shared !== true,
      `a shared ${spec.kind} cannot have zones: each process would have write pointers of its own; leave out \`shared\``,
    );
  }
}

export function lowerOf(spec: DeviceSpec): DeviceSpec | undefined {
  return (spec as { lower?: DeviceSpec }).lower;
}

/** @throws NvbraidError EINVAL when the device below cannot be cut like that */
export function zoneGeometry(spec: ZonedSpec, blockSize: number, blockCount: number): ZoneGeometry {
  const { zoneSize, zoneCapacity } = spec;
  const size = blockCount * blockSize;
  refuseUnless(zoneSize >= blockSize, `zone size ${zoneSize} is less than a block, which has ${blockSize} bytes`);
  refuseUnless(
    zoneCapacity % blockSize === 0,
    `zone capacity ${zoneCapacity} is not a whole number of blocks of ${blockSize} bytes`,
  );
  refuseUnless(
    size % zoneSize === 0,
    `${size} bytes are not a whole number of zones of ${zoneSize} bytes: use ${Math.floor(size / zoneSize) * zoneSize || zoneSize}`,
  );
  const zoneBlocks = zoneSize / blockSize;
  const zoneCount = size / zoneSize;
  refuseUnless(
    zoneBlocks <= MAX_ZONE_BLOCKS,
    `a zone has at most ${MAX_ZONE_BLOCKS} blocks: choose a smaller zone size`,
  );
  refuseUnless(zoneCount <= MAX_ZONES, `a device has at most ${MAX_ZONES} zones: choose a larger zone size`);
  for (const limit of [spec.maxOpen, spec.maxActive]) {
    refuseUnless(limit <= zoneCount, `there are only ${zoneCount} zones, a limit of ${limit} would mean nothing`);
  }
  const { maxOpen, maxActive } = spec;
  return { zoneBlocks, zoneCapacity: zoneCapacity / blockSize, zoneCount, maxOpen, maxActive };
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function refuseUnless(ok: boolean, message: string): void {
  if (!ok) throw new NvbraidError('EINVAL', message);
}
