import { memoryDevice } from '@nvbraid/blockdev';
import { createTarget, type Target, type TargetPort } from '../../src/target.ts';

/** A target with one discovery port that can refer to others; subsystems with a namespace of 1 MiB each. */
export class DiscoverySite {
  readonly target: Target;
  port: TargetPort;

  private constructor(target: Target, port: TargetPort) {
    this.target = target;
    this.port = port;
  }

  static async open(nqns: readonly string[], port = 0): Promise<DiscoverySite> {
    const target = await createTarget({ reactors: 0 });
    for (const nqn of nqns) await addSubsystem(target, nqn);
    return new DiscoverySite(target, await listen(target, nqns, port));
  }

  /** How a host reaches it. */
  get options(): { transport: string; traddr: string; trsvcid: number } {
    return { transport: 'net', traddr: '127.0.0.1', trsvcid: this.port.port };
  }

  refer(name: string, trsvcid: number, traddr = '127.0.0.1'): void {
    this.target.core
      .port(this.port.portid)!
      .referrals.add(name, { trtype: 'tcp', adrfam: 'ipv4', traddr, trsvcid: String(trsvcid) });
  }

  unrefer(name: string): void {
    this.target.core.port(this.port.portid)!.referrals.remove(name);
  }

  async add(nqn: string): Promise<void> {
    await addSubsystem(this.target, nqn);
    await this.target.link(this.port.portid, nqn);
  }

  /** One more way to subsystems of this target. */
  another(nqns: readonly string[]): Promise<TargetPort> {
    return listen(this.target, nqns, 0);
  }

  close(): Promise<void> {
    return this.target.close();
  }
}

function listen(target: Target, subsystems: readonly string[], port: number): Promise<TargetPort> {
  return target.listen({ transport: 'net', address: '127.0.0.1', port, subsystems: [...subsystems] });
}

async function addSubsystem(target: Target, nqn: string): Promise<void> {
  target.addSubsystem({ nqn });
  await target.addNamespace(nqn, { device: memoryDevice({ size: 1 << 20, blockSize: 512 }) });
}

/** Looks until it is so. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5));
}
