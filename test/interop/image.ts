/*
 * Prepares what the guest boots: a Debian kernel, a small first root that finds the disk, and a disk image with the
 * tools of the stories. Everything comes from Debian packages, by name, from the mirror that this machine's apt uses;
 * an apt state of its own (with no package installed in it) makes apt resolve all dependencies without touching the
 * machine. The result is kept in a cache directory.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { type CpioEntry, cpio } from './cpio.ts';

export interface GuestImage {
  /** Kernel version. */
  version: string;
  /** What qemu's -kernel takes. */
  kernel: string;
  /** First archive of the first root; a story's scripts are appended to a copy of it. */
  initrd: string;
  /** ext4 image with userland and modules. */
  disk: string;
}

/** Tools of the machine: command -> Debian package. */
const HOST_TOOLS: Record<string, string> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  mke2fs: 'e2fsprogs',
  depmod: 'kmod',
  xz: 'xz-utils',
  'dpkg-deb': 'dpkg',
};
const SEABIOS = '/usr/share/seabios/bios-256k.bin';

/** base-files comes first: it brings the links /bin, /lib and /sbin that others rely on. */
const USERLAND = [
  ...['base-files', 'base-passwd', 'bash', 'coreutils', 'util-linux', 'mount', 'grep', 'sed', 'mawk', 'diffutils'],
  ...['kmod', 'iproute2', 'e2fsprogs', 'nftables', 'nvme-cli', 'fio', 'jq', 'busybox-static', 'linux-image-amd64'],
];

/** Needed to reach the disk; the rest is loaded from it. ext4 asks for crc32c by name, which no dependency tells. */
const EARLY_MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

export const cacheRoot = (): string => process.env.NVBRAID_GUEST_CACHE ?? join(tmpdir(), 'nvbraid-guest');

/** A reason why no guest can be booted here, to be printed; null when one can. Installs missing tools when it may. */
export function unsupported(): string | null {
  if (process.platform !== 'linux') return 'guests are booted on Linux only';
  if (!onPath('apt-get')) return 'apt-get is absent: the guest is made of Debian packages';
  if (!/^ID=debian$/m.test(readFileSync('/etc/os-release', 'utf8'))) return 'apt here knows no Debian mirror';
  const missing = Object.keys(HOST_TOOLS)
    .filter((tool) => !onPath(tool))
    .map((tool) => HOST_TOOLS[tool]!);
  if (!existsSync(SEABIOS)) missing.push('seabios');
  if (missing.length === 0) return null;
  if (process.getuid?.() !== 0) return `missing, and only root can install: ${missing.join(' ')}`;
  const apt = (args: string[]) =>
    spawnSync('apt-get', args, { encoding: 'utf8', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  apt(['update', '-q']);
  const result = apt(['install', '-y', '-q', '--no-install-recommends', ...missing]);
  return result.status === 0 ? null : `apt-get install ${missing.join(' ')} failed: ${lastLine(result.stderr)}`;
}

/** Boot files of a Debian suite, from the cache or made now, which takes a minute or two and about 180 MB of download. */
export function guestImage(suite: string, log: (line: string) => void): GuestImage {
  const recipe = createHash('sha256')
    .update(readFileSync(import.meta.filename))
    .update(readFileSync(join(import.meta.dirname, 'guest', 'first-init.sh')))
    .digest('hex')
    .slice(0, 12);
  const place = join(cacheRoot(), `${suite}-${recipe}`);
  if (!existsSync(place)) {
    const work = mkdtempSync(join(mkdir(cacheRoot()), `.${suite}-`));
    try {
      log(`preparing a ${suite} guest in ${place} (once)`);
      build(suite, work, log);
      for (const left of ['apt', 'root']) rmSync(join(work, left), { recursive: true, force: true });
      if (!existsSync(place)) renameSync(work, place);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
    for (const other of readdirSync(cacheRoot())) {
      if (!other.startsWith(`${suite}-`) || join(cacheRoot(), other) === place) continue;
      rmSync(join(cacheRoot(), other), { recursive: true, force: true }); // of an older recipe
    }
  }
  return {
    version: readFileSync(join(place, 'version'), 'utf8'),
    kernel: join(place, 'kernel'),
    initrd: join(place, 'initrd'),
    disk: join(place, 'disk.img'),
  };
}

function build(suite: string, work: string, log: (line: string) => void): void {
  const root = mkdir(join(work, 'root'));
  const packages = download(suite, mkdir(join(work, 'apt')));
  log(`unpacking ${packages.length} packages`);
  packages.sort(
    (a, b) => Number(basename(b).startsWith('base-files_')) - Number(basename(a).startsWith('base-files_')),
  );
  for (const file of packages) run('dpkg-deb', ['-x', file, root]);
  const version = readdirSync(join(root, 'usr/lib/modules'))[0]!;
  writeFileSync(join(work, 'version'), version);
  run('depmod', ['-b', root, '-m', '/usr/lib/modules', version], true) ?? run('depmod', ['-b', root, version]);
  writeFileSync(join(work, 'kernel'), bootable(readFileSync(join(root, 'boot', `vmlinuz-${version}`))));
  writeFileSync(join(work, 'initrd'), firstRoot(root, version));
  tidy(root);
  log('making the disk image');
  run('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-d', root, join(work, 'disk.img'), '2G']);
}

/** Downloads the closure of the userland and the kernel; answers the package files. */
function download(suite: string, dir: string): string[] {
  for (const part of ['etc/preferences.d', 'state/lists/partial', 'cache/archives/partial']) mkdir(join(dir, part));
  writeFileSync(join(dir, 'status'), '');
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  const trust = existsSync(keyring) ? `[signed-by=${keyring}] ` : '';
  writeFileSync(join(dir, 'sources.list'), `deb ${trust}${mirror()} ${suite} main\n`);
  const set = (name: string, value: string): string[] => ['-o', `${name}=${value}`];
  const options = [
    ...set('Dir::Etc::SourceList', join(dir, 'sources.list')),
    ...set('Dir::Etc::SourceParts', '-'),
    ...set('Dir::Etc::Preferences', '-'),
    ...set('Dir::Etc::PreferencesParts', join(dir, 'etc/preferences.d')),
    ...set('Dir::State', join(dir, 'state')),
    ...set('Dir::State::status', join(dir, 'status')),
    ...set('Dir::Cache', join(dir, 'cache')),
    ...set('APT::Architecture', 'amd64'),
    ...set('APT::Architectures', 'amd64'),
    ...set('APT::Sandbox::User', ''),
    ...set('Acquire::Languages', 'none'),
    ...set('Acquire::Retries', '3'),
    ...set('Debug::NoLocking', 'true'),
  ];
  run('apt-get', [...options, '-q', 'update']);
  run('apt-get', [...options, '-y', '-q', '--no-install-recommends', '--download-only', 'install', ...USERLAND]);
  return globSync(join(dir, 'cache/archives/*.deb'));
}

/** The Debian mirror of this machine's own apt. */
function mirror(): string {
  const format = ['Created-By: Packages', '--format', '$(REPO_URI) $(RELEASE)'];
  const lines = run('apt-get', ['indextargets', ...format])!.split('\n');
  const found = lines.map((line) => line.split(' ')).find(([uri, release]) => uri && !/[-/]/.test(release ?? '-'));
  if (found === undefined) throw new Error('this machine’s apt has no Debian mirror configured');
  return found[0]!;
}

/**
 * The kernel as an ELF file when it can be had: qemu then starts it at once, while the compressed one spends many
 * seconds unpacking itself under emulation.
 */
function bootable(vmlinuz: Buffer): Buffer {
  const formats: [Buffer, (from: Buffer) => Buffer | null][] = [
    [Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), (from) => attempt(() => zstdDecompressSync(from))],
    [Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), unxz],
    [Buffer.from([0x1f, 0x8b, 0x08]), (from) => attempt(() => gunzipSync(from))],
  ];
  for (const [magic, unpack] of formats) {
    for (let at = vmlinuz.indexOf(magic); at >= 0; at = vmlinuz.indexOf(magic, at + 1)) {
      const kernel = unpack(vmlinuz.subarray(at));
      if (kernel?.subarray(0, 4).equals(Buffer.from('\x7fELF', 'latin1'))) return kernel;
    }
  }
  return vmlinuz;
}

function attempt(make: () => Buffer): Buffer | null {
  try {
    return make();
  } catch {
    return null;
  }
}

/** Trailing bytes that are no xz stream make xz complain after it has written everything. */
function unxz(from: Buffer): Buffer | null {
  const result = spawnSync('xz', ['-dcq'], { input: from, maxBuffer: 1 << 28 });
  return result.stdout.length > 0 ? result.stdout : null;
}

/** busybox, the modules on the way to the disk, and the script that mounts it. */
function firstRoot(root: string, version: string): Buffer {
  const entries: CpioEntry[] = [{ path: 'bin' }, { path: 'modules' }, { path: 'dev' }, { path: 'proc' }];
  entries.push({ path: 'sys' }, { path: 'new' });
  const program = (path: string, from: string): void => {
    entries.push({ path, content: readFileSync(from), executable: true });
  };
  program('bin/busybox', [join(root, 'usr/bin/busybox'), join(root, 'bin/busybox')].find((file) => existsSync(file))!);
  program('init', join(import.meta.dirname, 'guest', 'first-init.sh'));
  const order: string[] = [];
  const dependencies = new Map(
    readFileSync(join(root, 'usr/lib/modules', version, 'modules.dep'), 'utf8')
      .split('\n')
      .map((line) => line.split(':') as [string, string]),
  );
  const named = (name: string): string | undefined =>
    [...dependencies.keys()].find((path) => basename(path).split('.')[0]!.replaceAll('-', '_') === name);
  for (const name of EARLY_MODULES) {
    const path = named(name);
    if (path === undefined) continue; // built into this kernel
    // modules.dep lists what a module needs, the nearest first
    for (const one of [...dependencies.get(path)!.trim().split(' ').filter(Boolean).reverse(), path]) {
      if (!order.includes(one)) order.push(one);
    }
  }
  const names = order.map((path) => {
    const file = join(root, 'usr/lib/modules', version, path);
    const name = basename(path).split('.')[0]!;
    const content = readFileSync(file);
    const plain = path.endsWith('.xz') ? unxz(content) : path.endsWith('.zst') ? zstdDecompressSync(content) : content;
    entries.push({ path: `modules/${name}.ko`, content: plain! });
    return name;
  });
  entries.push({ path: 'modules/order', content: names.join('\n') + '\n' });
  return cpio(entries);
}

/** What maintainer scripts would have done, as far as the stories need it, and less to copy. */
function tidy(root: string): void {
  for (const waste of ['doc', 'man', 'locale', 'info', 'icons']) {
    rmSync(join(root, 'usr/share', waste), { recursive: true, force: true });
  }
  rmSync(join(root, 'boot'), { recursive: true, force: true });
  for (const name of ['passwd', 'group']) {
    copyFileSync(join(root, 'usr/share/base-passwd', `${name}.master`), join(root, 'etc', name));
  }
  for (const dir of ['proc', 'sys', 'dev', 'run', 'tmp', 'mnt', 'story', 'etc/nvme']) mkdir(join(root, dir));
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost guest\n');
  if (!existsSync(join(root, 'usr/bin/awk'))) copyFileSync(join(root, 'usr/bin/mawk'), join(root, 'usr/bin/awk'));
}

/** Runs to the end and answers its output; throws, or answers null when `mayFail`. */
function run(command: string, args: string[], mayFail = false): string | null {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, DEBIAN_FRONTEND: 'noninteractive' };
  const result = spawnSync(command, args, { encoding: 'utf8', env, maxBuffer: 1 << 26 });
  if (result.status === 0) return result.stdout;
  if (mayFail) return null;
  const why = result.error?.message ?? lastLine(result.stderr);
  throw new Error(`${command} ${args.slice(-3).join(' ')} failed: ${why}`);
}

const lastLine = (text: string): string => text.trimEnd().split('\n').slice(-3).join(' | ');

function onPath(tool: string): boolean {
  const dirs = `${process.env.PATH}:/usr/sbin:/sbin`.split(':');
  return dirs.some((dir) => existsSync(join(dir, tool)));
}

function mkdir(path: string): string {
  mkdirSync(path, { recursive: true });
  return path;
}
