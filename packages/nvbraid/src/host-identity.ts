import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { NvbraidError } from '@nvbraid/base';
import { IDENTITY_FILE_BYTES } from './nvme-files/limits.ts';
import { nvmeDirectory, readText } from './nvme-files/read-file.ts';

export interface HostIdentity {
  readonly hostnqn: string;
  /** UUID. */
  readonly hostid: string;
}

const UUID_NQN = 'nqn.2014-08.org.nvmexpress:uuid:';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

let fallback: string | null = null;

/**
 * Who this host is: what the caller says, else what nvme-cli has set up on this machine, else a name made up for this
 * process. Both values must belong together: a host identifier that is not given is taken from the host NQN's UUID.
 * @throws NvbraidError EINVAL when a file of nvme-cli holds something else
 */
export function hostIdentity(given: { hostnqn?: string | undefined; hostid?: string | undefined }): HostIdentity {
  const configured = given.hostnqn === undefined ? configuredHostNqn() : undefined;
  const hostnqn = given.hostnqn ?? configured ?? UUID_NQN + (given.hostid ?? ownUuid());
  if (given.hostid !== undefined) return { hostnqn, hostid: given.hostid };
  const fromFile = configured === undefined ? undefined : configuredHostId();
  if (fromFile !== undefined) return { hostnqn, hostid: fromFile };
  const fromNqn = hostnqn.startsWith(UUID_NQN) ? hostnqn.slice(UUID_NQN.length) : '';
  return { hostnqn, hostid: UUID.test(fromNqn) ? fromNqn : ownUuid() };
}

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

function ownUuid(): string {
  return (fallback ??= randomUUID());
}

/** A host NQN that nobody has yet. */
export function newHostNqn(): string {
  return UUID_NQN + randomUUID();
}

/** What /etc/nvme/hostnqn says. @throws NvbraidError EINVAL, EACCES, EIO */
export function configuredHostNqn(directory = nvmeDirectory()): string | undefined {
  const path = join(directory, 'hostnqn');
  const line = firstLine(path);
  if (line === undefined || (/^nqn\.[\x21-\x7e]+$/.test(line) && line.length <= 223)) return line;
  throw new NvbraidError('EINVAL', `${path}:1: this is no NQN; correct the file, or name the host with -q`);
}

function configuredHostId(directory = nvmeDirectory()): string | undefined {
  const path = join(directory, 'hostid');
  const line = firstLine(path);
  if (line === undefined || UUID.test(line)) return line;
  throw new NvbraidError('EINVAL', `${path}:1: this is no UUID; correct the file, or name the host with -I`);
}

/** An empty file counts as none: that is what an interrupted writer leaves. */
function firstLine(path: string): string | undefined {
  const [line = ''] = (readText(path, IDENTITY_FILE_BYTES) ?? '').split('\n', 1);
  return line.trim() || undefined;
}
