import { NvbraidError } from '@nvbraid/base';
import type { BlockDevice, DeviceSpec, OpenOptions, PreparedDevice } from './block-device.ts';
import type { FileDeviceSpec, PreparedFileDevice } from './file/file-spec.ts';
import { measureFile, openFileDevice, prepareFile, releaseFile } from './file/prepare-file.ts';
import type { FilterKind, FilterSpec, PreparedFilter } from './filters/filter.ts';
import { FILTER_KINDS } from './filters/filter-table.ts';
import { tunableRow } from './filters/tunable.ts';
import { VOLATILE_CACHE } from './filters/volatile-cache.ts';
import { uncorrectableRanges } from './lba-ranges.ts';
import { MemoryDevice, type MemoryDeviceSpec, type PreparedMemoryDevice, prepareMemory } from './memory-device.ts';
import { NullDevice, type NullDeviceSpec, type PreparedNullDevice, prepareNull } from './null-device.ts';
import { openZoned, prepareZoned, releaseZoned } from './zoned/prepare-zoned.ts';
import type { PreparedZoned, ZonedSpec } from './zoned/zoned-spec.ts';

/** What has to be known of a kind of device. */
interface Kind {
  /** For devices that need nothing from the system; null where that is not so. */
  prepareNow(spec: DeviceSpec): PreparedDevice | null;
  prepare(spec: DeviceSpec): Promise<PreparedDevice> | PreparedDevice;
  open(prepared: PreparedDevice, options: OpenOptions): BlockDevice;
  /** Looks at the size again; the answer shares everything with what was prepared. */
  measure(prepared: PreparedDevice): Promise<PreparedDevice>;
  release(prepared: PreparedDevice): Promise<void> | void;
}

/** The specs are told apart by `kind`, so each row may take its own for granted. */
function row<S extends DeviceSpec, P extends PreparedDevice & S>(kind: {
  prepareNow?(spec: S): P | null;
  prepare?(spec: S): Promise<P>;
  open(prepared: P, options: OpenOptions): BlockDevice;
  /** Absent: the size never changes. */
  measure?(prepared: P): Promise<P>;
  release?(prepared: P): Promise<void> | void;
}): Kind {
  return {
    prepareNow: (spec) => kind.prepareNow?.(spec as S) ?? null,
    prepare: (spec) => (kind.prepare ?? kind.prepareNow)!(spec as S)!,
    open: (prepared, options) => kind.open(prepared as P, options),
    measure: async (prepared) => kind.measure?.(prepared as P) ?? prepared,
    release: (prepared) => kind.release?.(prepared as P),
  };
}

/** A filter takes the geometry of the device below and opens and closes together with it. */
function filterRow(filter: FilterKind): Kind {
  const prepared = (spec: FilterSpec, lower: PreparedDevice): PreparedFilter => {
    if (lower.zoneGeometry !== undefined) {
      throw new NvbraidError(
        'EINVAL',
        `a ${spec.kind} filter cannot stand on zones: zones belong on top of all filters`,
      );
    }
    const { blockSize, blockCount, readOnly, volatileWriteCache, thin } = lower;
    const { compareAndWrite = false, uncorrectable = false } = lower;
    const geometry = { blockSize, blockCount, readOnly, volatileWriteCache, thin, compareAndWrite, uncorrectable };
    const keepsNothing = filter.keepsNothing === true;
    const ready = { ...spec, ...geometry, keepsNothing, ...filter.changes, ...filter.share?.(spec, lower), lower };
    if (!ready.uncorrectable) refuseMarks(spec, lower);
    return ready;
  };
  return row<FilterSpec, PreparedFilter>({
    prepareNow(spec) {
      if (filter.prepare !== undefined) return null;
      const lower = prepareNow(spec.lower);
      return lower === null ? null : prepared(spec, lower);
    },
    async prepare(spec) {
      const lower = await prepareDevice(spec.lower);
      try {
        const ready = prepared(spec, lower);
        return { ...ready, ...(await filter.prepare?.(ready)) };
      } catch (error) {
        await releaseDevice(lower);
        throw error;
      }
    },
    open(spec, options) {
      if (filter.oneThread === true && options.threads > 1) {
        throw new NvbraidError('ENOTSUP', `a ${spec.kind} filter works in one thread only: use one reactor, or none`);
      }
      const lower = openDevice(spec.lower, options);
      return filter.open(spec, lower, options);
    },
    async measure(spec) {
      if (filter.fixedSize === true) return spec;
      const lower = await measureDevice(spec.lower);
      return { ...spec, blockCount: lower.blockCount, lower };
    },
    async release(spec) {
      await filter.release?.(spec);
      await releaseDevice(spec.lower);
    },
  });
}

/** A layer that keeps no marks must not stand on a device that has some: its blocks would be readable. */
function refuseMarks(spec: DeviceSpec, lower: PreparedDevice): void {
  const [first] = uncorrectableRanges(lower, 0, lower.blockCount * lower.blockSize, 1);
  if (first === undefined) return;
  throw new NvbraidError(
    'EINVAL',
    `the device below has blocks that are marked uncorrectable, the first at byte ${first[0]}, which ${spec.kind} does ` +
      'not keep: write them first, with the device served as it is',
  );
}

/** Not a filter: it changes more than what happens to single operations, and it has state of its own to keep. */
const ZONED = row<ZonedSpec, PreparedZoned>({
  async prepare(spec) {
    const lower = await prepareDevice(spec.lower);
    try {
      refuseMarks(spec, lower);
      return await prepareZoned(spec, lower);
    } catch (error) {
      await releaseDevice(lower);
      throw error;
    }
  },
  open: (prepared, options) => openZoned(prepared, openDevice(prepared.lower, options), options),
  async release(prepared) {
    releaseZoned(prepared);
    await releaseDevice(prepared.lower);
  },
});

const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  [
    'memory',
    row<MemoryDeviceSpec, PreparedMemoryDevice>({
      prepareNow: prepareMemory,
      open: (prepared, options) => new MemoryDevice(prepared, options),
    }),
  ],
  [
    'null',
    row<NullDeviceSpec, PreparedNullDevice>({ prepareNow: prepareNull, open: (prepared) => new NullDevice(prepared) }),
  ],
  ['volatile-cache', filterRow(VOLATILE_CACHE)],
  ...FILTER_KINDS.map((kind): [string, Kind] => [kind.kind, filterRow(tunableRow(kind))]),
  ['zoned', ZONED],
  [
    'file',
    row<FileDeviceSpec, PreparedFileDevice>({
      prepare: prepareFile,
      open: openFileDevice,
      measure: measureFile,
      release: releaseFile,
    }),
  ],
]);

/**
 * Makes a device ready to be opened by the threads of this process: opens or makes its file, checks it, allocates
 * what the threads share. Call it once, in the main thread, and `releaseDevice` at the end.
 * @throws NvbraidError with a sentence that names the file and says what to do
 */
export async function prepareDevice(spec: DeviceSpec): Promise<PreparedDevice> {
  return kindOf(spec).prepare(spec);
}

/**
 * Opens the view of one thread.
 * @param spec from `prepareDevice`; a device in memory may also be opened from the spec as it was made
 * @throws NvbraidError EINVAL when a spec that needs it was not prepared, ENOTSUP when the device cannot be
 * opened by so many threads
 */
export function openDevice(spec: DeviceSpec, options: OpenOptions): BlockDevice {
  const prepared = prepareNow(spec);
  if (prepared === null) {
    throw new NvbraidError('EINVAL', `a ${spec.kind} device must be prepared before it is opened`);
  }
  return kindOf(prepared).open(prepared, options);
}

/**
 * The device with the size that its file has by now. It shares everything with `prepared`, and replaces it; views that
 * are open serve the new size too.
 * @throws NvbraidError EINVAL when the size is not a whole number of blocks, EIO
 */
export async function measureDevice(prepared: PreparedDevice): Promise<PreparedDevice> {
  return kindOf(prepared).measure(prepared);
}

/** Gives back what `prepareDevice` took. Every thread must have closed its view. */
export async function releaseDevice(prepared: PreparedDevice): Promise<void> {
  await kindOf(prepared).release(prepared);
}

function prepareNow(spec: DeviceSpec): PreparedDevice | null {
  return 'blockCount' in spec ? (spec as PreparedDevice) : kindOf(spec).prepareNow(spec);
}

function kindOf(spec: DeviceSpec): Kind {
  const kind = KINDS.get(spec.kind);
  if (kind === undefined) {
    const known = [...KINDS.keys()].join(', ');
    throw new NvbraidError('EINVAL', `unknown kind of device "${spec.kind}" (known: ${known})`);
  }
  return kind;
}
