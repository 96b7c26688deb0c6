import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

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
 */
export function hostIdentity(given: { hostnqn?: string | undefined; hostid?: string | undefined }): HostIdentity {
  const configured = given.hostnqn === undefined ? readLine('/etc/nvme/hostnqn') : undefined;
  const hostnqn = given.hostnqn ?? configured ?? UUID_NQN + (given.hostid ?? ownUuid());
  if (given.hostid !== undefined) return { hostnqn, hostid: given.hostid };
  const fromFile = configured === undefined ? undefined : readLine('/etc/nvme/hostid');
  if (fromFile !== undefined && UUID.test(fromFile)) return { hostnqn, hostid: fromFile };
  const fromNqn = hostnqn.startsWith(UUID_NQN) ? hostnqn.slice(UUID_NQN.length) : '';
  return { hostnqn, hostid: UUID.test(fromNqn) ? fromNqn : ownUuid() };
}

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

function ownUuid(): string {
  return (fallback ??= randomUUID());
}

function readLine(path: string): string | undefined {
  try {
    const line = readFileSync(path, 'utf8').trim();
    return line === '' ? undefined : line;
  } catch {
    return undefined;
  }
}
