import { crc32c, Memory } from '@nvbraid/base';
import { ZoneKept, type ZoneRecord } from './zone-store.ts';
import type { ZoneGeometry } from './zone-table.ts';

/*
 * The file that keeps zones:
 *
 *   0 … 4095       head: magic, version, geometry, the boot during which it was written, CRC32C
 *   4096 + 64 n    record of zone n, with a CRC32C of its own
 *
 * A record lies within one sector and is written by one call, so that it is either the old or the new one after a crash.
 */
const MAGIC = 'NVBZONES';
const VERSION = 1;
export const ZONE_HEAD_BYTES = 4096;
export const ZONE_RECORD_BYTES = 64;

/** Offsets within the head. */
const Head = {
  Version: 8,
  BlockSize: 12,
  ZoneBlocks: 16,
  ZoneCapacity: 20,
  ZoneCount: 24,
  Boot: 32,
  Crc: 4092,
} as const;
const BOOT_BYTES = 36;
/** Offsets within a record. */
const Record = { Zone: 0, Kept: 4, Written: 8, Stable: 12, Epoch: 16, Crc: 60 } as const;

/** A file as it was read. */
export interface ZoneImage {
  readonly blockSize: number;
  readonly zoneBlocks: number;
  readonly zoneCapacity: number;
  readonly zoneCount: number;
  /** The boot of the machine during which the file was made; what was written then is lost with the power. */
  readonly boot: string;
  readonly records: readonly ZoneRecord[];
}

export function zoneFileBytes(zoneCount: number): number {
  return ZONE_HEAD_BYTES + zoneCount * ZONE_RECORD_BYTES;
}

export function putZoneRecord(memory: Memory, at: number, zone: number, record: ZoneRecord): void {
  const { view } = memory;
  view.setUint32(at + Record.Zone, zone, true);
  view.setUint32(at + Record.Kept, record.kept, true);
  view.setUint32(at + Record.Written, record.written, true);
  view.setUint32(at + Record.Stable, record.stable, true);
  view.setUint32(at + Record.Epoch, record.epoch, true);
  view.setUint32(at + Record.Crc, crc32c(memory, at, Record.Crc), true);
}

/** The whole file. */
export function zoneFile(
  geometry: ZoneGeometry,
  blockSize: number,
  boot: string,
  records: readonly ZoneRecord[],
): Uint8Array {
  const memory = Memory.alloc(zoneFileBytes(geometry.zoneCount));
  const { view, bytes } = memory;
  bytes.set(new TextEncoder().encode(MAGIC), 0);
  view.setUint32(Head.Version, VERSION, true);
  view.setUint32(Head.BlockSize, blockSize, true);
  view.setUint32(Head.ZoneBlocks, geometry.zoneBlocks, true);
  view.setUint32(Head.ZoneCapacity, geometry.zoneCapacity, true);
  view.setUint32(Head.ZoneCount, geometry.zoneCount, true);
  bytes.set(new TextEncoder().encode(boot.slice(0, BOOT_BYTES)), Head.Boot);
  view.setUint32(Head.Crc, crc32c(memory, 0, Head.Crc), true);
  records.forEach((record, zone) => {
    putZoneRecord(memory, ZONE_HEAD_BYTES + zone * ZONE_RECORD_BYTES, zone, record);
  });
  return bytes;
}

/** Reads a file, whatever is in it. A text answer says what is wrong, as a clause. */
export function parseZoneFile(bytes: Uint8Array): ZoneImage | string {
  if (bytes.length < ZONE_HEAD_BYTES) return `it has only ${bytes.length} bytes`;
  const memory = Memory.over(bytes.slice());
  const { view } = memory;
  const text = new TextDecoder('latin1').decode(memory.bytes.subarray(0, MAGIC.length));
  if (text !== MAGIC) return 'it is not a file of zones';
  if (view.getUint32(Head.Crc, true) !== crc32c(memory, 0, Head.Crc)) return 'the checksum of its head is wrong';
  const version = view.getUint32(Head.Version, true);
  if (version !== VERSION) return `it has version ${version}, which this program does not know`;
  const zoneBlocks = view.getUint32(Head.ZoneBlocks, true);
  const zoneCapacity = view.getUint32(Head.ZoneCapacity, true);
  const zoneCount = view.getUint32(Head.ZoneCount, true);
  if (bytes.length !== zoneFileBytes(zoneCount)) {
    return `${zoneCount} zones make ${zoneFileBytes(zoneCount)} bytes, it has ${bytes.length}`;
  }
  const records: ZoneRecord[] = [];
  for (let zone = 0; zone < zoneCount; zone++) {
    const at = ZONE_HEAD_BYTES + zone * ZONE_RECORD_BYTES;
    const record = {
      kept: view.getUint32(at + Record.Kept, true) as ZoneKept,
      written: view.getUint32(at + Record.Written, true),
      stable: view.getUint32(at + Record.Stable, true),
      epoch: view.getUint32(at + Record.Epoch, true),
    };
    const whole = view.getUint32(at + Record.Crc, true) === crc32c(memory, at, Record.Crc);
    if (!whole || view.getUint32(at + Record.Zone, true) !== zone) return `the record of zone ${zone} is damaged`;
    if (record.kept > ZoneKept.Offline || record.written > zoneCapacity) return `zone ${zone} cannot be what it says`;
    records.push(record);
  }
  return {
    blockSize: view.getUint32(Head.BlockSize, true),
    zoneBlocks,
    zoneCapacity,
    zoneCount,
    boot: new TextDecoder('latin1')
      .decode(memory.bytes.subarray(Head.Boot, Head.Boot + BOOT_BYTES))
      .replace(/\0+$/, ''),
    records,
  };
}
