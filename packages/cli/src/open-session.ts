import { ControlClient, runningProcesses } from '@nvbraid/manage';
import { NvbraidError } from 'nvbraid';
import { type Address, onlySubsystem } from './association.ts';
import type { Invocation } from './command.ts';
import { controllerName } from './device-name.ts';
import { HostSession } from './host-session.ts';
import type { SessionValues, sessionOptions } from './options.ts';
import { allStatuses, isConnected, isHost } from './process-list.ts';
import { ProcessSession, processStatus } from './process-session.ts';
import type { Session, SessionNamespace } from './session.ts';
import type { ServeStatus } from './status.ts';
import { StopSignal } from './stop-signal.ts';
import { UsageError } from './usage-error.ts';

/** Options that say that an association of our own is wanted. */
const ADDRESS_OPTIONS = ['traddr', 'trsvcid', 'nqn', 'transport'] as const;

/** The options of a session, as far as a command has them. */
export type SessionGiven = Partial<SessionValues>;

/** Opens a session as the options say: with a target of its own, or with a running process. */
export async function openSession(
  given: SessionGiven,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Session> {
  if (namesTarget(names)) return HostSession.open(await givenAddress(given, signal), given, signal);
  const client = await ControlClient.connect(given.socket ?? (await onlyProcess()));
  let keep = false;
  try {
    const status = await processStatus(client);
    keep = status.role === 'connect';
    if (status.role === 'connect') return new ProcessSession(client, status);
    return await HostSession.open(servedAddress(status), given, signal);
  } finally {
    if (!keep) client.close();
  }
}

/**
 * Runs something on a session, for commands about one controller: the operand names it where there are several.
 * @throws UsageError
 */
export async function withController(
  { options, operands, given }: Pick<Invocation<typeof sessionOptions>, 'options' | 'operands' | 'given'>,
  work: (session: Session, device: string | undefined) => Promise<number>,
): Promise<number> {
  const device = controllerName(operands[0]);
  if (device !== undefined && namesTarget(given)) {
    throw new UsageError(
      `${device} names a controller of a running nvbraid connect: it excludes the address of a target`,
    );
  }
  using stop = new StopSignal();
  const session = await openSession(options, given, stop.signal);
  try {
    return await work(session, device);
  } finally {
    await session.close();
  }
}

/** Where the options, or the running process they lead to, find a controller to make an association with. */
export async function resolveAddress(
  given: SessionGiven,
  names: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Address> {
  if (namesTarget(names)) return givenAddress(given, signal);
  const client = await ControlClient.connect(given.socket ?? (await onlyProcess()));
  try {
    const status = await processStatus(client);
    return status.role === 'connect' ? status.address : servedAddress(status);
  } finally {
    client.close();
  }
}

function namesTarget(names: ReadonlySet<string>): boolean {
  const target = ADDRESS_OPTIONS.some((name) => names.has(name));
  if (target && names.has('socket')) throw new UsageError('--socket and the address of a target exclude each other');
  return target;
}

async function givenAddress(given: SessionGiven, signal: AbortSignal | undefined): Promise<Address> {
  const { transport = 'tcp', traddr, trsvcid = 4420, nqn } = given;
  if (traddr === undefined) throw new UsageError('-a is missing: the address of the target');
  const address = { transport, traddr, trsvcid };
  return { ...address, nqn: nqn ?? (await onlySubsystem(address, given, signal)) };
}

/**
 * The socket of the process that is meant when none is named: the only `connect`, or where there is none the only `serve`.
 * @param role looks for this one alone
 */
export async function onlyProcess(role?: 'connect' | 'serve'): Promise<string> {
  const running = await runningProcesses();
  const wanted = running.filter((process) => (role === 'serve' ? process.role === role : isHost(process)));
  const candidates = role !== undefined || wanted.length > 0 ? wanted : running;
  if (candidates.length === 1) return candidates[0]!.socket;
  if (candidates.length === 0) {
    if (role !== undefined) throw new NvbraidError('ENOENT', `no nvbraid ${role} is running here`);
    throw new NvbraidError(
      'ENOENT',
      'no nvbraid process is running here; name a target with -a, or start nvbraid serve',
    );
  }
  const list = candidates.map((process) => process.socket).join(', ');
  const roles = [...new Set(candidates.map((process) => process.role))];
  const what =
    roles.length === 1
      ? `nvbraid ${roles[0]} is running ${candidates.length} times`
      : `nvbraid ${roles.join(' and ')} are running`;
  throw new NvbraidError('EINVAL', `${what}; choose one with --socket: ${list}`);
}

/** The socket of the process that is connected to a subsystem. @throws NvbraidError ENOENT, EINVAL when there are several */
export async function connectedTo(nqn: string): Promise<string> {
  const found = (await allStatuses(undefined, null, '')).filter(isConnected);
  const sockets = found.filter(({ status }) => status.address.nqn === nqn).map(({ socket }) => socket);
  if (sockets.length === 1) return sockets[0]!;
  if (sockets.length === 0) throw new NvbraidError('ENOENT', `no nvbraid connect here is connected to ${nqn}`);
  const list = sockets.join(', ');
  throw new NvbraidError('EINVAL', `${nqn} is connected ${sockets.length} times; choose one with --socket: ${list}`);
}

/** How this machine reaches what `serve` listens on. */
export function servedAddress(status: ServeStatus): Address {
  const port = status.ports.find((candidate) => candidate.nqns.length > 0);
  if (port === undefined) throw new NvbraidError('ENOENT', `process ${status.pid} serves no subsystem`);
  return { transport: port.transport, traddr: reachable(port.traddr), trsvcid: port.trsvcid, nqn: port.nqns[0]! };
}

/** A listener on all addresses is reached on this machine by its loopback address. */
function reachable(traddr: string): string {
  if (traddr === '0.0.0.0') return '127.0.0.1';
  return traddr === '::' ? '::1' : traddr;
}

/** The namespace the user named, or the only one. @throws NvbraidError ENOENT, EINVAL */
export function chooseNamespace(
  session: Pick<Session, 'where' | 'namespaces'>,
  nsid: number | undefined,
): SessionNamespace {
  const { namespaces, where } = session;
  const list = namespaces.map((namespace) => namespace.nsid).join(', ');
  if (nsid === undefined) {
    if (namespaces.length === 1) return namespaces[0]!;
    if (namespaces.length === 0) throw new NvbraidError('ENOENT', `${where} has no namespace`);
    throw new NvbraidError('EINVAL', `${where} has several namespaces (${list}); choose one with --namespace-id`);
  }
  const found = namespaces.find((namespace) => namespace.nsid === nsid);
  if (found !== undefined) return found;
  const there = namespaces.length === 0 ? 'none' : list;
  throw new NvbraidError('ENOENT', `${where} has no namespace ${nsid} (it has ${there})`);
}
