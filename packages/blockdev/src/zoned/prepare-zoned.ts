import * as fs from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { NvbraidError } from '@nvbraid/base';
import { type BlockDevice, type DeviceSpec, IoResult, type OpenOptions, type PreparedDevice } from '../block-device.ts';
import type { PreparedFileDevice } from '../file/file-spec.ts';
import { libc } from '../file/native.ts';
import { replaceFile } from '../file/replace-file.ts';
import { statePath } from '../file/state-path.ts';
import { FileZoneStore } from './file-zone-store.ts';
import { parseZoneFile, type ZoneImage, zoneFile } from './zone-format.ts';
import { ZoneRecorder } from './zone-recorder.ts';
import { ZoneCondition } from './zone-states.ts';
import { ZoneKept, type ZoneRecord } from './zone-store.ts';
import { type ZoneGeometry, ZoneTable } from './zone-table.ts';
import { ZonedDevice } from './zoned-device.ts';
import { lowerOf, type PreparedZoned, type ZonedSpec, zoneGeometry } from './zoned-spec.ts';

/** Bytes of a file without data: what some file systems need for the file itself. */
const EMPTY_FILE_BYTES = 4096;

/**
 * Cuts a device into zones, whose states and write pointers are read from the file beside it.
 * @param boot tells whether the machine has been without power since the file was written
 * @throws NvbraidError EINVAL, EACCES, EIO with a sentence that names the file
 */
export async function prepareZoned(spec: ZonedSpec, lower: PreparedDevice, boot = bootId()): Promise<PreparedZoned> {
  const { blockSize, blockCount, readOnly, volatileWriteCache, thin } = lower;
  const geometry = zoneGeometry(spec, blockSize, blockCount);
  const memory = ZoneTable.memory(geometry);
  const zonesPath = pathOf(spec, lower);
  let zonesFd = -1;
  if (zonesPath !== null) {
    const records = await recordsOf(zonesPath, lower, geometry, boot);
    const table = new ZoneTable(geometry, memory);
    records.forEach((record, zone) => {
      table.restore(zone, conditionOf(record, geometry), record.written, record.stable);
    });
    if (!readOnly) {
      await replaceFile(zonesPath, zoneFile(geometry, blockSize, boot, records), { makeDirectory: true });
      zonesFd = openZones(zonesPath);
    }
  }
  return {
    ...spec,
    lower,
    blockSize,
    blockCount,
    readOnly,
    volatileWriteCache,
    thin,
    zoneGeometry: geometry,
    table: memory,
    zonesPath,
    zonesFd,
    failed: new SharedArrayBuffer(4),
    native: (fileOf(lower)?.native ?? false) && libc() !== null,
  };
}

export function openZoned(prepared: PreparedZoned, lower: BlockDevice, options: OpenOptions): ZonedDevice {
  const store = prepared.zonesFd < 0 ? null : new FileZoneStore(prepared);
  return new ZonedDevice(prepared, lower, store, options);
}

export function releaseZoned(prepared: PreparedZoned): void {
  if (prepared.zonesFd >= 0) fs.closeSync(prepared.zonesFd);
}

/**
 * A zone has become unwritable (`fail`) or unreadable (`lose`) by itself. From any thread that has the prepared device;
 * counts at once for all, and is stable when the promise is fulfilled.
 * @returns false when the zone was in that state, or a worse one
 * @throws NvbraidError EIO
 */
export async function failZone(prepared: PreparedZoned, zone: number, event: 'fail' | 'lose'): Promise<boolean> {
  const table = new ZoneTable(prepared.zoneGeometry, prepared.table);
  const before = table.condition(zone);
  if (table.change(zone, event) !== IoResult.Ok || table.condition(zone) === before) return false;
  if (prepared.zonesFd < 0) return true;
  const store = new FileZoneStore(prepared);
  const recorder = new ZoneRecorder(table, store, new Int32Array(prepared.failed), () => {});
  try {
    const kept = recorder.record(zone) && !(await new Promise<boolean>((resolve) => recorder.sync(resolve)));
    if (!kept) throw new NvbraidError('EIO', `cannot keep the state of zone ${zone} in ${prepared.zonesPath}`);
    return true;
  } finally {
    store.close();
  }
}

/** The file or block device at the bottom; undefined when there is only memory. */
function fileOf(lower: DeviceSpec): PreparedFileDevice | undefined {
  for (let spec: DeviceSpec | undefined = lower; spec !== undefined; spec = lowerOf(spec)) {
    if (spec.kind === 'file') return spec as PreparedFileDevice;
  }
  return undefined;
}

function pathOf(spec: ZonedSpec, lower: PreparedDevice): string | null {
  const file = fileOf(lower);
  if (file === undefined) return null;
  const path = statePath(file.path, file.blockDevice, 'zones', spec.stateDirectory);
  if (path !== null) return path;
  throw new NvbraidError(
    'EINVAL',
    `block device ${file.path} has no place for the states of its zones: give a state directory`,
    { context: { path: file.path } },
  );
}

async function recordsOf(
  path: string,
  lower: PreparedDevice,
  geometry: ZoneGeometry,
  boot: string,
): Promise<readonly ZoneRecord[]> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw cannot('read', path, error);
    await refuseData(fileOf(lower)!, path);
    return Array.from({ length: geometry.zoneCount }, () => ({
      kept: ZoneKept.Sequential,
      written: 0,
      stable: 0,
      epoch: 0,
    }));
  }
  const image = parseZoneFile(bytes);
  if (typeof image === 'string') {
    throw new NvbraidError(
      'EINVAL',
      `${path} does not tell the zones of ${fileOf(lower)!.path}: ${image}; restore it from a copy, or give up the data ` +
        `in the zones by removing both files`,
      { context: { path } },
    );
  }
  checkImage(image, path, lower, geometry);
  // After a loss of power only those blocks are sure to be there that a flush has covered.
  const survived = image.boot === boot && boot !== '';
  return image.records.map((record) => {
    const stable = Math.min(record.stable, record.written);
    return { ...record, stable, written: survived ? record.written : stable };
  });
}

/** A file with data and without zones: either its zones have been lost, or it never had any. */
async function refuseData(file: PreparedFileDevice, path: string): Promise<void> {
  if (file.blockDevice) return;
  const { blocks } = await stat(file.path);
  if (blocks * 512 <= EMPTY_FILE_BYTES) return;
  throw new NvbraidError(
    'EINVAL',
    `${file.path} has data, but no zones (${path} is missing): bring that file back, or empty this one with ` +
      `\`truncate -s 0 ${file.path} && truncate -s ${file.blockCount * file.blockSize} ${file.path}\``,
    { context: { path: file.path } },
  );
}

function checkImage(image: ZoneImage, path: string, lower: PreparedDevice, geometry: ZoneGeometry): void {
  const same =
    image.blockSize === lower.blockSize &&
    image.zoneBlocks === geometry.zoneBlocks &&
    image.zoneCapacity === geometry.zoneCapacity &&
    image.zoneCount === geometry.zoneCount;
  if (same) return;
  const { blockSize } = image;
  throw new NvbraidError(
    'EINVAL',
    `${fileOf(lower)!.path} has ${image.zoneCount} zones of ${image.zoneBlocks * blockSize} bytes with a capacity of ` +
      `${image.zoneCapacity * blockSize} and blocks of ${blockSize}: give the same, or give up the data in the zones by ` +
      `removing ${path} and emptying the file`,
    { context: { path } },
  );
}

/** The state of a zone after a start (ZNS 1.2, 2.1.1.3): none is open. */
function conditionOf(record: ZoneRecord, geometry: ZoneGeometry): ZoneCondition {
  switch (record.kept) {
    case ZoneKept.Finished:
      return ZoneCondition.Full;
    case ZoneKept.ReadOnly:
      return ZoneCondition.ReadOnly;
    case ZoneKept.Offline:
      return ZoneCondition.Offline;
    default:
      if (record.written === 0) return ZoneCondition.Empty;
      return record.written === geometry.zoneCapacity ? ZoneCondition.Full : ZoneCondition.Closed;
  }
}

function openZones(path: string): number {
  try {
    return fs.openSync(path, 'r+');
  } catch (error) {
    throw cannot('open', path, error);
  }
}

function cannot(what: string, path: string, cause: unknown): NvbraidError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM') {
    return new NvbraidError('EACCES', `no permission to ${what} ${path}`, { cause, context: { path } });
  }
  return new NvbraidError('EIO', `cannot ${what} ${path}: ${message}`, { cause, context: { path } });
}

/** Changes whenever the machine starts; empty where nobody tells, which counts as a start. */
export function bootId(): string {
  try {
    return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
