import { connectController, type HostController, type HostNamespace, type NvbraidError } from 'nvbraid';
import type { Address } from './association.ts';
import { Progress } from './bench/result.ts';
import { makeVerifier, type Verifier } from './bench/verifier.ts';
import { Workload, type WorkloadOptions } from './bench/workload.ts';

const REGION_BYTES = 16 * 1024 * 1024;
const PATTERN_BYTES = 128 * 1024;
const IO_BYTES = 4096;

export interface DemoOptions {
  readonly iodepth: number;
  readonly mayWrite: boolean;
  readonly seed: number;
}

/** The host of the demo: what it reads and writes, and whether all of it was right. */
export class DemoTraffic {
  readonly #controller: HostController;
  readonly #namespace: HostNamespace;
  readonly #options: DemoOptions;
  readonly #verifier: Verifier;
  readonly #workload: Workload;
  readonly #progress: Progress;
  /** Another host uses the namespace: what is in it is its own business. */
  yielded = false;
  #patternError: NvbraidError | null = null;

  private constructor(controller: HostController, options: DemoOptions) {
    this.#controller = controller;
    this.#namespace = controller.namespace(1);
    this.#options = options;
    this.#verifier = makeVerifier('history', this.#namespace.blockSize, options.seed, 'any');
    this.#workload = new Workload(this.#namespace, {
      ...this.#plan(IO_BYTES),
      rw: options.mayWrite ? 'randrw' : 'randread',
    });
    this.#progress = new Progress(this.#workload);
  }

  static async connect(address: Address, options: DemoOptions): Promise<DemoTraffic> {
    return new DemoTraffic(await connectController({ ...address, ctrlLossTmo: 0 }), options);
  }

  get hostnqn(): string {
    return this.#controller.hostnqn;
  }

  get state(): string {
    return this.yielded ? 'idle' : this.#controller.state;
  }

  get error(): NvbraidError | null {
    return this.#patternError ?? this.#workload.error;
  }

  get violationHistory(): readonly string[] {
    return this.#verifier.violation?.history ?? [];
  }

  /** Writes the whole region and reads it back. */
  async pattern(signal: AbortSignal): Promise<{ blocks: number; bytes: number }> {
    const plan = this.#plan(PATTERN_BYTES);
    const writer = new Workload(this.#namespace, { ...plan, rw: 'write', ios: plan.sizeBytes / plan.blockBytes });
    const stop = (): void => void writer.stop();
    signal.addEventListener('abort', stop, { once: true });
    writer.start();
    await writer.ended();
    if (writer.error === null) await this.#namespace.flush();
    await writer.verifyWritten(signal);
    signal.removeEventListener('abort', stop);
    this.#patternError = writer.error;
    if (writer.error !== null) throw writer.error;
    return { blocks: this.#verifier.checkedBlocks, bytes: writer.write.bytes };
  }

  start(): void {
    if (!this.yielded) this.#workload.start();
  }

  /** Fulfilled when the traffic has ended because of an error. */
  async failed(): Promise<void> {
    await this.#workload.ended();
    if (this.#workload.error === null) await new Promise(() => {});
  }

  /** Leaves the namespace to another host. */
  async yield(): Promise<void> {
    this.yielded = true;
    await this.#workload.stop();
  }

  /** Ends the traffic, makes it stable, and reads everything back. */
  async finish(progress: (share: number) => void): Promise<{ verified: number; operations: number }> {
    const workload = this.#workload;
    await workload.stop();
    if (workload.error === null && this.#options.mayWrite) await this.#namespace.flush();
    if (workload.error === null && !this.yielded) await workload.verifyWritten(new AbortController().signal, progress);
    return { verified: this.#verifier.checkedBlocks, operations: workload.read.ios + workload.write.ios };
  }

  progress(): string {
    return `${this.#progress.text()}  ${this.#verifier.checkedBlocks} blocks verified`;
  }

  async disconnect(): Promise<void> {
    await this.#controller.disconnect();
  }

  #plan(blockBytes: number): Omit<WorkloadOptions, 'rw'> {
    const { iodepth, seed } = this.#options;
    const whole = Math.min(REGION_BYTES, this.#namespace.size);
    // Small namespaces: what does not hold one operation is read in blocks.
    const bytes = whole >= blockBytes ? blockBytes : this.#namespace.blockSize;
    const sizeBytes = Math.floor(whole / bytes) * bytes;
    return { rwmixread: 50, blockBytes: bytes, iodepth, sizeBytes, seed, verifier: this.#verifier };
  }
}
