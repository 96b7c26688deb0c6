/*
 * `npm run interop`: all stories against a real Linux kernel, as tests.
 * `npm run interop -- SCRIPT [ARG…]`: boots a guest that runs one script of test/interop/guest and exits with its status.
 * `npm run interop -- --prepare`: makes the guest's image only.
 *
 * Environment: NVBRAID_GUEST_CACHE (where the image is kept), NVBRAID_GUEST_SUITE (Debian suite, default trixie),
 * NVBRAID_GUEST_ACCEL (qemu accelerator, default emulation).
 */
import { spawnSync } from 'node:child_process';
import { basename, join } from 'node:path';
import { DEFAULT_SUITE, Guest } from './guest.ts';
import { guestImage, unsupported } from './image.ts';

const [story, ...args] = process.argv.slice(2);
const reason = unsupported();
if (reason !== null) {
  console.log(`interop skipped: ${reason}`);
} else if (story === undefined) {
  const test = join(import.meta.dirname, 'interop.test.ts');
  const env = { ...process.env, NVBRAID_INTEROP: '1' };
  process.exitCode = spawnSync(process.execPath, ['--test', test], { stdio: 'inherit', env }).status ?? 1;
} else if (story === '--prepare') {
  console.log(guestImage(DEFAULT_SUITE, console.error).version);
} else {
  const guest = new Guest(basename(story), { args, onLine: (line) => console.log(line) });
  process.stdin.on('data', (text: Buffer) => guest.send(text.toString().trimEnd()));
  process.once('SIGINT', () => guest.kill());
  const { status, trouble } = await guest.finished;
  process.stdin.destroy();
  if (status === null) console.error(trouble);
  process.exitCode = status ?? 1;
}
