import type { Io } from '../block-device.ts';
import { LowerIo } from '../filters/filter.ts';

/** A write to a zone under way. One object serves one write at a time. */
export class ZoneOperation {
  upper: Io | null = null;
  zone = 0;
  readonly io: LowerIo;

  /** @param ended called when the device below is done, unless it was done in `submit` */
  constructor(ended: (operation: ZoneOperation) => void) {
    this.io = new LowerIo(() => ended(this));
  }

  /** The operation for the device below. */
  begin(upper: Io, zone: number): LowerIo {
    this.upper = upper;
    this.zone = zone;
    return this.io.copy(upper);
  }

  /** Refers to nothing any more. */
  end(): void {
    this.upper = null;
    this.io.flush();
  }
}
