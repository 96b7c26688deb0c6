import { assert, NvbraidError } from '@nvbraid/base';
import { controlRequest } from './control-request.ts';
import type { Head } from './head.ts';
import { Opening } from './opening.ts';
import type { Path } from './path.ts';
import type { IoctlCaller } from './path-disk.ts';

/**
 * The device for commands of the device's own language. Their errors are the user's: nothing is tried again or failed
 * over. Files that are open when the device is removed stay valid and keep the head; their requests find no path.
 */
export class PassthroughDevice {
  readonly #head: Head;

  constructor(head: Head) {
    this.#head = head;
  }

  /** ENXIO when the head is going away. */
  open(write = false): PassthroughFile {
    return new PassthroughFile(this.#head, { write, partition: false, rawIo: true });
  }
}

export class PassthroughFile extends Opening {
  readonly #head: Head;
  readonly #caller: IoctlCaller;
  /** Commands that are not over, with the path that each of them holds. */
  readonly #commands = new Map<unknown, Path>();

  constructor(head: Head, caller: IoctlCaller) {
    super(head);
    this.#head = head;
    this.#caller = caller;
  }

  /** A control request. EWOULDBLOCK when there is no path. */
  async ioctl(command: number, argument: unknown): Promise<unknown> {
    assert(this.isOpen, 'ioctl on a closed file');
    const head = this.#head;
    return controlRequest(head, command, (path) => head.template.cdevIoctl!(path, command, argument, this.#caller));
  }

  /** A command. EOPNOTSUPP when the driver has none, EINVAL when there is no path. */
  async uringCmd(command: unknown, flags = 0): Promise<unknown> {
    assert(this.isOpen, 'command on a closed file');
    assert(!this.#commands.has(command), 'the command is under way');
    const { template } = this.#head;
    if (template.chrUringCmd === undefined) throw new NvbraidError('EOPNOTSUPP', 'the device takes no commands');
    const path = this.#head.findPath();
    if (path === null) throw new NvbraidError('EINVAL', `${this.#head.name}: no path can take the command`);
    path.get();
    this.#commands.set(command, path);
    try {
      return await template.chrUringCmd(path, command, flags);
    } finally {
      this.#commands.delete(command);
      path.put();
    }
  }

  /** Looks for completions on the path of a command; answers how many there were, 0 when the command is over. */
  uringCmdIopoll(command: unknown): number {
    assert(this.isOpen, 'poll on a closed file');
    const { template } = this.#head;
    if (template.chrUringCmdIopoll === undefined) throw new NvbraidError('EOPNOTSUPP', 'the device takes no commands');
    const path = this.#commands.get(command);
    return path === undefined ? 0 : template.chrUringCmdIopoll(path, command);
  }
}
