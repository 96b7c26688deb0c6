/*
 * A Linux guest under qemu that runs one story: a script of `guest/`, as root, on a stock Debian kernel. The story talks
 * by its standard output and input; the guest sees this machine's loopback as 10.0.2.2.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type CpioEntry, cpio, writeParts } from './cpio.ts';
import { guestImage } from './image.ts';

export interface GuestOptions {
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  /** Ports of this machine's loopback -> ports of the guest. */
  forward?: Readonly<Record<number, number>>;
  suite?: string;
  memoryMb?: number;
  timeoutMs?: number;
  /** Each line that the story prints. */
  onLine?: (line: string) => void;
}

export interface StoryResult {
  /** Exit status of the story; null when it did not come to its end. */
  status: number | null;
  lines: string[];
  /** Kernel version. */
  kernel: string;
  /** Why there is no status, with the end of the kernel console. */
  trouble: string;
}

/** This machine's loopback as the guest sees it. */
export const HOST_ADDRESS = '10.0.2.2';
const GUEST_ADDRESS = '10.0.2.15';
/** Debian suite of the guest. */
export const DEFAULT_SUITE = process.env.NVBRAID_GUEST_SUITE ?? 'trixie';
/** Emulation is slow and CI machines are busy. */
const DEFAULT_TIMEOUT_MS = 600_000;
const SCRIPTS = join(import.meta.dirname, 'guest');

export class Guest {
  readonly finished: Promise<StoryResult>;
  readonly #qemu: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiters = new Set<() => void>();
  #ended = false;
  readonly #kill = (): void => {
    this.#qemu.kill('SIGKILL');
  };

  /** Boots a guest that runs `guest/STORY`. */
  constructor(story: string, options: GuestOptions = {}) {
    const image = guestImage(options.suite ?? DEFAULT_SUITE, console.error);
    const dir = mkdtempSync(join(tmpdir(), 'nvbraid-guest-run-'));
    const console_ = join(dir, 'console');
    const initrd = join(dir, 'initrd');
    writeParts(initrd, [readFileSync(image.initrd), cpio(storyFiles(story, options))]);
    const forwards = Object.entries(options.forward ?? {})
      .map(([here, there]) => `,hostfwd=tcp:127.0.0.1:${here}-${GUEST_ADDRESS}:${there}`)
      .join('');
    const args = [
      ...['-machine', 'q35', '-accel', process.env.NVBRAID_GUEST_ACCEL ?? 'tcg,thread=multi'],
      ...['-cpu', 'max,la57=off'],
      ...['-smp', '2', '-m', String(options.memoryMb ?? 1024)],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
      ...['-kernel', image.kernel, '-initrd', initrd],
      ...['-append', 'console=ttyS0 quiet loglevel=5 net.ifnames=0 panic=-1 mitigations=off no_timer_check'],
      ...['-drive', `if=virtio,format=raw,snapshot=on,cache=unsafe,file=${image.disk}`],
      ...['-nic', `user,model=virtio-net-pci,net=10.0.2.0/24,host=${HOST_ADDRESS}${forwards}`],
      ...['-device', 'virtio-rng-pci'],
      ...['-chardev', `file,id=console,path=${console_}`, '-serial', 'chardev:console'],
      ...['-chardev', 'stdio,id=story,signal=off', '-serial', 'chardev:story'],
    ];
    this.#qemu = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#qemu.stdin!.on('error', () => {}); // the guest may be gone before it reads
    process.once('exit', this.#kill);
    this.finished = this.#follow(image.version, console_, dir, options);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Resolves with the first line, past or future, that matches; rejects when the guest ends without it. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.#lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`the guest ended without a line ${pattern}:\n${this.#lines.join('\n')}`);
      await new Promise<void>((wake) => this.#waiters.add(wake));
    }
  }

  /** Writes a line to the story's standard input. */
  send(line: string): void {
    this.#qemu.stdin!.write(line + '\n');
  }

  /** Switches the machine off. */
  kill(): void {
    this.#kill();
  }

  async #follow(kernel: string, console_: string, dir: string, options: GuestOptions): Promise<StoryResult> {
    let status: number | null = null;
    let trouble = '';
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const timer = setTimeout(() => {
      trouble = `no end after ${timeoutMs / 1000} s; `;
      this.kill();
    }, timeoutMs);
    this.#qemu.stderr!.on('data', (text: Buffer) => {
      trouble += text.toString();
    });
    createInterface({ input: this.#qemu.stdout! }).on('line', (text) => {
      const line = text.replace(/\r$/, '');
      const exit = /^@exit (\d+)$/.exec(line);
      if (exit !== null) {
        status = Number(exit[1]);
      } else {
        this.#lines.push(line);
        options.onLine?.(line);
      }
      this.#wake();
    });
    await new Promise<void>((resolve) => {
      this.#qemu.once('error', (error) => {
        trouble += error.message;
        resolve();
      });
      this.#qemu.once('close', () => resolve());
    });
    clearTimeout(timer);
    process.off('exit', this.#kill);
    this.#ended = true;
    this.#wake();
    if (status === null && trouble === '') trouble = 'the guest went off; ';
    if (status === null) trouble += `end of its console:\n${tail(console_)}`;
    rmSync(dir, { recursive: true, force: true });
    return { status, lines: this.#lines, kernel, trouble };
  }

  #wake(): void {
    for (const wake of this.#waiters) wake();
    this.#waiters.clear();
  }
}

/** Everything under `guest/`, and what the story is given, as files under /story. */
function storyFiles(story: string, options: GuestOptions): CpioEntry[] {
  const files: CpioEntry[] = [{ path: 'story' }];
  for (const name of readdirSync(SCRIPTS)) {
    files.push({ path: `story/${name}`, content: readFileSync(join(SCRIPTS, name)) });
  }
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  // A guest whose runner was killed switches itself off.
  const limit = { GUEST_SECONDS: String(Math.ceil((options.timeoutMs ?? DEFAULT_TIMEOUT_MS) / 1000) + 60) };
  const variables = Object.entries({ ...limit, ...options.env }).map(([name, value]) => `${name}=${quote(value)}\n`);
  files.push({ path: 'story/environment', content: variables.join('') });
  const command = ['exec bash', `/story/${story}`, ...(options.args ?? []).map(quote)].join(' ');
  files.push({ path: 'story/command', content: command + '\n' });
  return files;
}

function tail(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-30).join('\n');
  } catch {
    return '(none)';
  }
}

/** A TCP port of the loopback that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
