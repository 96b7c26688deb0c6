import { type BlockDevice, type DeviceSpec, type Io, IoOp, IoResult, type PreparedDevice } from './block-device.ts';
import { checkGeometry } from './geometry.ts';
import { marksBuffer, UncorrectableMarks } from './uncorrectable-marks.ts';

export interface NullDeviceSpec extends DeviceSpec {
  readonly kind: 'null';
  /** Bytes. */
  readonly size: number;
  readonly blockSize: number;
}

/**
 * A device that reads as zeroes and forgets what is written: for measuring everything else.
 * @throws NvbraidError EINVAL
 */
export function nullDevice(options: { size: number; blockSize?: number }): NullDeviceSpec {
  const { size, blockSize = 4096 } = options;
  checkGeometry('null device', size, blockSize);
  return { kind: 'null', size, blockSize };
}

export interface PreparedNullDevice extends NullDeviceSpec, PreparedDevice {
  readonly kind: 'null';
  /** See UncorrectableMarks. */
  readonly marks: SharedArrayBuffer;
}

export function prepareNull(spec: NullDeviceSpec): PreparedNullDevice {
  return {
    ...spec,
    blockCount: checkGeometry('null device', spec.size, spec.blockSize),
    readOnly: false,
    volatileWriteCache: false,
    thin: false,
    compareAndWrite: true,
    uncorrectable: true,
    marks: marksBuffer(),
  };
}

export class NullDevice implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin = false;
  readonly compareAndWrite = true;
  readonly marks: UncorrectableMarks;
  readonly memory = null;

  constructor(prepared: PreparedNullDevice) {
    this.blockSize = prepared.blockSize;
    this.blockCount = prepared.blockCount;
    this.marks = new UncorrectableMarks(prepared.marks, prepared.blockSize);
  }

  submit(io: Io): boolean {
    if (io.op === IoOp.Read) io.memory.bytes.fill(0, io.memoryOffset, io.memoryOffset + io.length);
    io.result = io.op === IoOp.CompareAndWrite && !expectsZeroes(io) ? IoResult.Miscompare : IoResult.Ok;
    return true;
  }

  async close(): Promise<void> {}
}

function expectsZeroes(io: Io): boolean {
  const end = io.compareOffset! + io.length;
  for (let at = io.compareOffset!; at < end; at++) if (io.compare!.bytes[at] !== 0) return false;
  return true;
}
