import { realpathSync } from 'node:fs';
import { NvbraidError } from '@nvbraid/base';
import { type DeviceSpec, type PreparedDevice, statePath } from '@nvbraid/blockdev';
import {
  type ControllerInstance,
  endInstance,
  type HostIdentity,
  type InstanceFate,
  type Subsystem,
} from '@nvbraid/target';
import { PEER_RETRY_MS, PEER_SILENCE_MS } from './limits.ts';
import { askPeer, PeerServer } from './peer-socket.ts';
import { type Claim, type Holder, ProcessRegistry } from './process-registry.ts';

/** What must be known of a file device; see blockdev's `fileDevice`. */
interface SharedFile extends DeviceSpec {
  readonly path: string;
  readonly shared: boolean;
  readonly readOnly: boolean;
  readonly native: boolean;
  readonly blockDevice: boolean;
}

/** A subsystem that this process serves, together with others, from one file. */
interface Share {
  readonly subsystem: Subsystem;
  readonly registry: ProcessRegistry;
  readonly claim: Claim;
  readonly server: PeerServer;
  readonly releaseRange: () => void;
  /** The devices of namespaces on this file. */
  readonly users: Set<PreparedDevice>;
}

export interface SharedFilesOptions {
  /** Where the state of block devices is kept; null: nowhere. */
  readonly stateDirectory: string | null;
  log(message: string): void;
}

/**
 * The files that this target serves together with other processes (`shared`). It registers before a file is put into
 * service, ends controllers for processes that ask, and asks them. See docs/safe-failover.md.
 */
export class SharedFiles {
  readonly #options: SharedFilesOptions;
  /** By registry directory and NQN. */
  readonly #shares = new Map<string, Share>();
  readonly #asking = new Set<Asking>();
  /** One after the other: two namespaces on one file register once. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SharedFilesOptions) {
    this.#options = options;
  }

  /**
   * Registers for a namespace; does nothing for one whose device is not shared.
   * @throws NvbraidError EBUSY, EACCES, EINVAL, ENOTSUP, EIO
   */
  async enter(subsystem: Subsystem, device: PreparedDevice): Promise<void> {
    const file = sharedFileOf(device);
    if (file === null) return;
    refuseUnfenced(device, file);
    const directory = statePath(realpathSync(file.path), file.blockDevice, 'processes', this.#options.stateDirectory);
    if (directory === null || !file.native) {
      const why = directory === null ? 'it has no state directory' : 'there are no locks without koffi';
      this.#options.log(
        `${file.path} is shared, but ${why}: hosts cannot end their controllers in other processes by this one ` +
          '(Cross-Controller Reset)',
      );
      return;
    }
    const entered = this.#last.then(() => this.#enter(subsystem, device, directory));
    this.#last = entered.catch(() => {});
    await entered;
  }

  async #enter(subsystem: Subsystem, user: PreparedDevice, directory: string): Promise<void> {
    const key = `${directory} ${subsystem.nqn}`;
    const present = this.#shares.get(key);
    if (present !== undefined) {
      present.users.add(user);
      return;
    }
    const registry = new ProcessRegistry(directory);
    const { min, max } = subsystem.controllers;
    const claim = await registry.claim({ nqn: subsystem.nqn, cntlidMin: min, cntlidMax: max });
    try {
      const server = await PeerServer.listen(directory, claim.id, ({ instance, host }, done) =>
        endInstance(subsystem, instance, host, done),
      );
      const releaseRange = subsystem.holdCntlidRange();
      this.#shares.set(key, { subsystem, registry, claim, server, releaseRange, users: new Set([user]) });
    } catch (error) {
      claim.close();
      const { message } = error as Error;
      throw new NvbraidError('EIO', `cannot listen in ${directory}, where other processes would ask: ${message}`, {
        cause: error,
      });
    }
  }

  /** The namespace is out of service, and no operation of its device is under way any more. */
  async leave(user: PreparedDevice): Promise<void> {
    for (const [key, share] of [...this.#shares]) {
      if (!share.users.delete(user) || share.users.size > 0) continue;
      this.#shares.delete(key);
      await this.#close(share);
    }
  }

  /** No operation of any device is under way any more. */
  async close(): Promise<void> {
    for (const asking of this.#asking) asking.stop();
    this.#asking.clear();
    const shares = [...this.#shares.values()];
    this.#shares.clear();
    await Promise.all(shares.map((share) => this.#close(share)));
  }

  async #close({ server, claim, releaseRange }: Share): Promise<void> {
    releaseRange();
    await server.close();
    claim.close(); // last: from here on others take us for dead
  }

  /** See `TargetHooks.endElsewhere`. */
  endElsewhere(
    subsystem: Subsystem,
    instance: ControllerInstance,
    host: HostIdentity,
    done: (fate: InstanceFate) => void,
  ): void {
    const registries = [...this.#shares.values()].filter((share) => share.subsystem === subsystem);
    if (registries.length === 0) return done('unknown');
    const asking = new Asking(
      subsystem.nqn,
      { instance, host },
      registries.map(({ registry }) => registry),
      this.#options.log,
      (fate) => {
        this.#asking.delete(asking);
        done(fate);
      },
    );
    this.#asking.add(asking);
    asking.go();
  }
}

/**
 * One attempt to have a controller ended in another process, which goes on until there is proof: the process says that
 * the controller is quiet, or it is dead. A process that does neither, because it is stopped or hangs, is waited for.
 */
class Asking {
  readonly #nqn: string;
  readonly #request: { instance: ControllerInstance; host: HostIdentity };
  /** Registries of which there is no proof yet. */
  readonly #open: ProcessRegistry[];
  readonly #log: (message: string) => void;
  readonly #done: (fate: InstanceFate) => void;
  #cancel: () => void = () => {};
  #patience: NodeJS.Timeout | null = null;
  #waitsFor = '';

  constructor(
    nqn: string,
    request: { instance: ControllerInstance; host: HostIdentity },
    registries: ProcessRegistry[],
    log: (message: string) => void,
    done: (fate: InstanceFate) => void,
  ) {
    this.#nqn = nqn;
    this.#request = request;
    this.#open = registries;
    this.#log = log;
    this.#done = done;
  }

  go(): void {
    this.#patience = setTimeout(() => this.#complain(), PEER_SILENCE_MS).unref();
    this.#next();
  }

  stop(): void {
    this.#cancel();
    if (this.#patience !== null) clearTimeout(this.#patience);
  }

  #next(): void {
    const registry = this.#open[0];
    if (registry === undefined) return this.#end('quiet');
    let holder: Holder;
    try {
      holder = registry.holder(this.#nqn, this.#request.instance.cntlid);
    } catch (error) {
      return this.#later((error as Error).message);
    }
    if (holder.state === 'unknown') return this.#end('unknown');
    if (holder.state === 'dead') return this.#proven();
    const { id, pid } = holder.entry;
    this.#waitsFor = `process ${pid}`;
    this.#cancel = askPeer(registry.directory, id, this.#request, (fate) => {
      if (fate === 'quiet') this.#proven();
      else if (fate !== null) this.#end(fate);
      else this.#later(`process ${pid}`);
    });
  }

  #proven(): void {
    this.#open.shift();
    this.#next();
  }

  #later(waitsFor: string): void {
    this.#waitsFor = waitsFor;
    const timer = setTimeout(() => this.#next(), PEER_RETRY_MS).unref();
    this.#cancel = () => clearTimeout(timer);
  }

  #end(fate: InstanceFate): void {
    this.stop();
    this.#done(fate);
  }

  #complain(): void {
    this.#log(
      `the reset of controller ${this.#request.instance.cntlid} of ${this.#nqn} waits for ${this.#waitsFor}, which serves ` +
        'the same file and gives no proof that the commands have ended: continue it if it is stopped, or end it',
    );
  }
}

/** The file at the bottom of a device, if other processes may serve it too and this one can write to it. */
function sharedFileOf(device: DeviceSpec): SharedFile | null {
  const bottom = bottomOf(device) as SharedFile;
  return bottom.kind === 'file' && bottom.shared && !bottom.readOnly ? bottom : null;
}

function bottomOf(device: DeviceSpec): DeviceSpec {
  const { lower } = device as { lower?: DeviceSpec };
  return lower === undefined ? device : bottomOf(lower);
}

/** What would let a command arrive after its process has been taken for quiet or dead. */
function refuseUnfenced(device: DeviceSpec, file: SharedFile): void {
  for (let spec = device; spec !== undefined; spec = (spec as { lower?: DeviceSpec }).lower!) {
    if (spec.kind !== 'volatile-cache') continue;
    throw new NvbraidError(
      'EINVAL',
      `a volatile cache cannot stand on ${file.path}, which is shared: what it writes back later would overwrite what ` +
        'other processes have written since',
    );
  }
  // With io_uring the kernel may still write for a process that has ended: libuv uses it only when it is told to.
  if ((process.env.UV_USE_IO_URING ?? '0') !== '0') {
    throw new NvbraidError(
      'ENOTSUP',
      `${file.path} is shared, which needs system calls that end with the process: unset UV_USE_IO_URING`,
    );
  }
}
