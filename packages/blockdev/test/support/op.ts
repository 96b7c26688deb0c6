import { type BlockDevice, type Io, type IoArguments, type IoOp, IoRequest, ioResultName } from '../../src/index.ts';

/** Starts an operation and tells how far it is: 'pending', or the name of its result. */
export class Op {
  readonly io: IoRequest;
  state = 'pending';
  /** What `submit` answered. */
  readonly atOnce: boolean;

  constructor(device: BlockDevice, op: IoOp, options: IoArguments = {}, ended: (io: Io) => void = () => {}) {
    this.io = new IoRequest().set(op, options);
    this.io.onDone = (io) => {
      if (this.state !== 'pending') throw new Error('done was called twice');
      this.state = ioResultName(io.result);
      ended(io);
    };
    this.atOnce = device.submit(this.io);
    if (this.atOnce) this.state = ioResultName(this.io.result);
  }
}
