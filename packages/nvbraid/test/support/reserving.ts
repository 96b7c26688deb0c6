import assert from 'node:assert/strict';
import type { BlockDevice, DeviceSpec } from '@nvbraid/blockdev';
import { ReservationAcquireAction, ReservationReleaseAction, Status } from '@nvbraid/wire';
import {
  type ControllerOptions,
  connectController,
  createTarget,
  type HostController,
  type HostNamespace,
  type NamespaceConfig,
  NvmeError,
  type Target,
} from 'nvbraid';

export const NQN = 'nqn.2026-01.org.nvbraid:reservations';
export const UUID = '8f3c9a52-6d0e-4f5b-9d55-0e3f3f1c2b7a';

/** A host of a test: its name is a digit or a to f. */
export interface ReservingHost {
  readonly name: string;
  readonly hostid: string;
  readonly key: bigint;
  readonly controller: HostController;
  readonly disk: HostNamespace;
  register(values?: { cptpl?: number; rrega?: number; nrkey?: bigint }): Promise<void>;
  acquire(rtype: number): Promise<void>;
  preempt(rtype: number, victim: bigint, abort?: boolean): Promise<void>;
  release(rtype: number): Promise<void>;
  clear(): Promise<void>;
}

/** A target with one namespace, and hosts that have identifiers of their own. */
export class Reserving {
  readonly logged: string[] = [];
  readonly target: Target;
  readonly #port: number;
  readonly #hosts: ReservingHost[] = [];

  private constructor(target: Target, port: number) {
    this.target = target;
    this.#port = port;
  }

  static async start(
    reactors: number,
    device: DeviceSpec | BlockDevice,
    config: Partial<NamespaceConfig> = {},
  ): Promise<Reserving> {
    const target = await createTarget({ reactors });
    try {
      const logged: string[] = [];
      target.on('log', (message) => logged.push(message));
      target.addSubsystem({ nqn: NQN });
      await target.addNamespace(NQN, { device, nsid: 1, uuid: UUID, ...config });
      const { port } = await target.listen({ address: '127.0.0.1', port: 0, subsystems: [NQN] });
      const made = new Reserving(target, port);
      target.on('log', (message) => made.logged.push(message));
      return made;
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  async host(name: string, options: Partial<ControllerOptions> = {}): Promise<ReservingHost> {
    const hostid = `${name.repeat(8)}-0000-4000-8000-000000000001`;
    const controller = await connectController({
      traddr: '127.0.0.1',
      trsvcid: this.#port,
      nqn: NQN,
      hostnqn: `nqn.2014-08.org.nvmexpress:uuid:${hostid}`,
      hostid,
      ...options,
    });
    const disk = controller.namespace(1);
    const key = BigInt(`0x${name}`);
    const host: ReservingHost = {
      name,
      hostid,
      key,
      controller,
      disk,
      register: (values = {}) => disk.resvRegister({ nrkey: key, crkey: key, ...values }),
      acquire: (rtype) => disk.resvAcquire({ rtype, crkey: key }),
      preempt: (rtype, victim, abort = false) => {
        const { Preempt, PreemptAndAbort } = ReservationAcquireAction;
        return disk.resvAcquire({ racqa: abort ? PreemptAndAbort : Preempt, rtype, crkey: key, prkey: victim });
      },
      release: (rtype) => disk.resvRelease({ rtype, crkey: key }),
      clear: () => disk.resvRelease({ rrela: ReservationReleaseAction.Clear, crkey: key }),
    };
    this.#hosts.push(host);
    return host;
  }

  async close(): Promise<void> {
    await Promise.all(this.#hosts.map(({ controller }) => controller.disconnect().catch(() => {})));
    await this.target.close();
  }
}

/** `ok`, `conflict`, or what else the controller said. */
export async function outcome(command: Promise<unknown>): Promise<string> {
  try {
    await command;
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof NvmeError, String(error));
    return (error.status & 0x7ff) === Status.ReservationConflict ? 'conflict' : error.message;
  }
}

/** For assert.rejects: an error of the controller with this status. */
export const status =
  (expected: number) =>
  (error: unknown): boolean =>
    error instanceof NvmeError && (error.status & 0x7ff) === expected;
