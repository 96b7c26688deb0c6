import * as fs from 'node:fs';
import { Memory } from '@nvbraid/base';
import type { FileCalls } from '../file/file-calls.ts';
import { libc } from '../file/native.ts';
import { nativeCalls } from '../file/native-calls.ts';
import { nodeCalls } from '../file/node-calls.ts';
import { putZoneRecord, ZONE_HEAD_BYTES, ZONE_RECORD_BYTES } from './zone-format.ts';
import type { ZoneRecord, ZoneStore } from './zone-store.ts';
import type { PreparedZoned } from './zoned-spec.ts';

/**
 * The records of zones in their file. What `write` has written is in the page cache, which outlives the process. Each
 * thread has an open file of its own, because the kernel tells each open file once that writing back has failed.
 */
export class FileZoneStore implements ZoneStore {
  readonly #fd: number;
  readonly #calls: FileCalls;
  readonly #scratch = Memory.alloc(ZONE_RECORD_BYTES);

  constructor(prepared: PreparedZoned) {
    const library = prepared.native ? libc() : null;
    this.#calls = library === null ? nodeCalls : nativeCalls(library);
    const path = process.platform === 'linux' ? `/proc/self/fd/${prepared.zonesFd}` : prepared.zonesPath!;
    this.#fd = fs.openSync(path, 'r+');
  }

  write(zone: number, record: ZoneRecord): boolean {
    putZoneRecord(this.#scratch, 0, zone, record);
    const position = ZONE_HEAD_BYTES + zone * ZONE_RECORD_BYTES;
    return this.#calls.writeNow(this.#fd, this.#scratch, 0, ZONE_RECORD_BYTES, position) === ZONE_RECORD_BYTES;
  }

  sync(done: (failed: boolean) => void): void {
    this.#calls.syncLater(this.#fd, (error) => done(error !== null));
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}
