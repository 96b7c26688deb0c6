import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configuredHostNqn, NvbraidError, newHostNqn, nvmeDirectory } from 'nvbraid';
import { command } from '../command.ts';
import { fileProblem } from '../file-error.ts';

export const showHostnqn = command({
  name: 'show-hostnqn',
  summary: 'Print the host NQN of this machine',
  description: [
    'The one in /etc/nvme/hostnqn, or in $NVBRAID_NVME_DIR: with it hosts connect that are not named by -q.',
  ],
  options: {},
  examples: [{ line: 'nvbraid show-hostnqn', help: 'the name that hosts of this machine have' }],
  async run({ terminal }) {
    const nqn = configuredHostNqn();
    if (nqn === undefined) {
      const path = join(nvmeDirectory(), 'hostnqn');
      throw new NvbraidError('ENOENT', `${path} names no host; nvbraid gen-hostnqn --write makes one`);
    }
    terminal.line(nqn);
    return 0;
  },
});

export const genHostnqn = command({
  name: 'gen-hostnqn',
  summary: 'Make a host NQN',
  description: [
    'Prints a name that nobody has yet. Only with --write it becomes that of this machine; one that is there stays.',
  ],
  options: {
    write: { type: 'flag', help: 'Write it to /etc/nvme/hostnqn, and its UUID to hostid, unless they exist' },
  },
  examples: [{ line: 'nvbraid gen-hostnqn', help: 'as with nvme-cli' }],
  async run({ options, terminal }) {
    const nqn = newHostNqn();
    if (options.write) {
      const directory = nvmeDirectory();
      make(directory, 'hostnqn', nqn);
      try {
        make(directory, 'hostid', nqn.slice(nqn.lastIndexOf(':') + 1));
      } catch (error) {
        // An identifier that was there before goes on being that of this host.
        if (!(error instanceof NvbraidError) || error.code !== 'EEXIST') throw error;
      }
    }
    terminal.line(nqn);
    return 0;
  },
});

/** @throws NvbraidError EEXIST, EACCES */
function make(directory: string, name: string, text: string): void {
  const path = join(directory, name);
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(path, `${text}\n`, { flag: 'wx', mode: 0o644 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new NvbraidError('EEXIST', `${path} exists and is not changed; nvbraid show-hostnqn prints it`);
    }
    throw new NvbraidError('EACCES', `${path} cannot be written: ${fileProblem(error)}`, { cause: error });
  }
}
