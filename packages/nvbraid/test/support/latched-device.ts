import type { BlockDevice, Io } from '@nvbraid/blockdev';

/** A device that keeps operations back while `hold` is set, and gives them to the one below when it is told. */
export class LatchedDevice implements BlockDevice {
  readonly blockSize: number;
  readonly blockCount: number;
  readonly readOnly = false;
  readonly volatileWriteCache = false;
  readonly thin: boolean;
  readonly memory = null;
  hold = false;
  readonly held: Io[] = [];
  readonly #lower: BlockDevice;

  constructor(lower: BlockDevice) {
    this.#lower = lower;
    this.blockSize = lower.blockSize;
    this.blockCount = lower.blockCount;
    this.thin = lower.thin;
  }

  submit(io: Io): boolean {
    if (!this.hold) return this.#lower.submit(io);
    this.held.push(io);
    return false;
  }

  /** Oldest first. */
  release(): void {
    for (const io of this.held.splice(0)) if (this.#lower.submit(io)) io.done(io);
  }

  close(): Promise<void> {
    return this.#lower.close();
  }
}
