import { assert } from '@nvbraid/base';
import { SETTINGS_BYTES } from '../limits.ts';

/**
 * Settings that the main thread changes and every thread reads, without a message or a lock: JSON in shared memory and
 * a version word. A reader pays one atomic load per operation while nothing changes; what changes, changes as a whole.
 *
 * Two places take turns, so that a reader never waits for the writer. There is one writer.
 */
export class SharedSettings<T> {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #seen = -1;

  /** Room for it in shared memory. */
  static alloc(): SharedArrayBuffer {
    return new SharedArrayBuffer(HEAD_BYTES + 2 * SETTINGS_BYTES);
  }

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer, 0, HEAD_BYTES / 4);
    this.#bytes = new Uint8Array(buffer);
  }

  /** Words for counters that belong to the settings; zeroes at first. */
  static counters(buffer: SharedArrayBuffer): Int32Array {
    return new Int32Array(buffer, COUNTERS_AT * 4, SHARED_COUNTERS);
  }

  /** Something has been written since the last `read` of this object: one atomic load. */
  get changed(): boolean {
    return Atomics.load(this.#words, VERSION) !== this.#seen;
  }

  read(): T {
    for (;;) {
      const version = Atomics.load(this.#words, VERSION);
      const at = placeOf(version);
      const length = Atomics.load(this.#words, LENGTH + (version & 1));
      const text = this.#bytes.slice(at, at + length);
      // The writer has begun with this place again: there is something newer.
      if (Atomics.load(this.#words, VERSION) !== version) continue;
      this.#seen = version;
      return JSON.parse(decoder.decode(text)) as T;
    }
  }

  /** In force for whatever begins to look afterwards. */
  write(settings: T): void {
    const text = encoder.encode(JSON.stringify(settings));
    assert(text.length <= SETTINGS_BYTES, 'settings are bounded by their fields');
    const version = Atomics.load(this.#words, VERSION) + 1;
    this.#bytes.set(text, placeOf(version));
    Atomics.store(this.#words, LENGTH + (version & 1), text.length);
    Atomics.store(this.#words, VERSION, version | 0);
  }
}

const VERSION = 0;
const LENGTH = 1;
const COUNTERS_AT = 4;
const SHARED_COUNTERS = 12;
const HEAD_BYTES = (COUNTERS_AT + SHARED_COUNTERS) * 4;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function placeOf(version: number): number {
  return HEAD_BYTES + (version & 1) * SETTINGS_BYTES;
}
