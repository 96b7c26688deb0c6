/* A target of two ports for the story failover.sh, in this process: it does what the guest asks for. */
import { createTarget, fileDevice, type Target, type TargetPort } from 'nvbraid';
import type { Guest } from './guest.ts';

const ANA_STATES: Readonly<Record<string, number>> = {
  optimized: 1,
  'non-optimized': 2,
  inaccessible: 3,
  'persistent-loss': 4,
  change: 15,
};
const MIB = 1024 * 1024;

export class TwoPorts {
  readonly target: Target;
  readonly log: string[] = [];
  readonly #nqn: string;
  readonly #path: string;
  readonly #numbers: readonly [number, number];
  readonly #ports = new Map<number, TargetPort>();

  private constructor(target: Target, nqn: string, path: string, numbers: readonly [number, number]) {
    this.target = target;
    this.#nqn = nqn;
    this.#path = path;
    this.#numbers = numbers;
    target.on('log', (message) => this.log.push(message));
  }

  /** Serves a file of 32 MiB, optimized on the first port, non-optimized on the second. */
  static async start(nqn: string, path: string, numbers: readonly [number, number]): Promise<TwoPorts> {
    const two = new TwoPorts(await createTarget({ reactors: 2 }), nqn, path, numbers);
    two.target.addSubsystem({ nqn });
    await two.#addNamespace();
    await two.#open(1);
    await two.#open(2);
    two.#setAna(2, 'non-optimized');
    return two;
  }

  async #addNamespace(): Promise<void> {
    const device = fileDevice({ path: this.#path, size: 32 * MIB, create: true, blockSize: 4096 });
    await this.target.addNamespace(this.#nqn, { nsid: 1, device });
  }

  async #open(portid: number): Promise<void> {
    const port = this.#numbers[portid - 1]!;
    this.#ports.set(portid, await this.target.listen({ address: '127.0.0.1', port, portid, subsystems: [this.#nqn] }));
  }

  #setAna(portid: number, state: string): void {
    this.target.core.port(portid)!.setAnaState(1, ANA_STATES[state] as never);
  }

  /** Follows the guest's "@ask" lines until it ends. */
  serve(guest: Guest, line: string): void {
    if (!line.startsWith('@ask ')) return;
    const [what, ...args] = line.slice(5).split(' ');
    this.#do(what!, args).then(
      () => guest.send('done'),
      (error: unknown) => guest.send(`failed: ${String(error)}`),
    );
  }

  async #do(what: string, args: string[]): Promise<void> {
    const portid = Number(args[0]);
    const subsystem = this.target.core.subsystem(this.#nqn)!;
    switch (what) {
      case 'ana':
        return this.#setAna(portid, args[1]!);
      case 'flap':
        for (let i = 0; i < Number(args[1]); i++) {
          this.#setAna(portid, i % 2 === 0 ? 'inaccessible' : 'optimized');
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        return this.#setAna(portid, 'optimized');
      case 'close':
        return this.#ports.get(portid)!.close();
      case 'open':
        return this.#open(portid);
      case 'drop':
        for (const controller of subsystem.controllersOn(this.target.core.port(portid)!)) {
          controller.remove('connection closed');
        }
        return;
      case 'resize':
        return subsystem.resizeNamespace(1, (Number(args[0]) * MIB) / 4096);
      case 'readonly':
        return subsystem.setReadOnly(1, args[0] === '1');
      case 'remove':
        return this.target.removeNamespace(this.#nqn, 1);
      case 'add':
        return this.#addNamespace();
      default:
        throw new Error(`unknown: ${what}`);
    }
  }
}
