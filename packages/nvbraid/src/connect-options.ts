import { NvbraidError } from '@nvbraid/base';
import {
  type HostControllerOptions,
  IO_QUEUES_MAX,
  PDA_MAX,
  QUEUE_SIZE_MAX,
  QUEUE_SIZE_MIN,
  R2T_MAX,
} from '@nvbraid/host';
import { installNativeCrc32c } from '@nvbraid/transport';
import { DISCOVERY_NQN, NVME_TCP_PORT } from '@nvbraid/wire';
import { hostIdentity, isUuid } from './host-identity.ts';
import { MAX_RETRIES } from './host-limits.ts';
import { HostRuntime } from './host-runtime.ts';
import { refuseTls, type TlsOptions } from './tls-refusal.ts';
import { usableRow } from './transport-row.ts';

/** How a controller is connected; the names are those of nvme-cli. Options for TLS are known, and refused. */
export interface ControllerOptions extends TlsOptions {
  /** Row of the transport table: tcp (default), mptcp, net, loop. */
  readonly transport?: string;
  /** Address of the target. */
  readonly traddr: string;
  /** Port of the target, default 4420. */
  readonly trsvcid?: number | string;
  /** Subsystem NQN. */
  readonly nqn: string;
  /** Default: as set up for nvme-cli on this machine, else made up for this process. */
  readonly hostnqn?: string;
  /** UUID. */
  readonly hostid?: string;
  /** Default 1; 0 connects the admin queue alone. The controller may grant fewer. */
  readonly nrIoQueues?: number;
  /** Further I/O queues, for commands that write; default 0. */
  readonly nrWriteQueues?: number;
  /** Entries of an I/O queue, default 128. */
  readonly queueSize?: number;
  /** Seconds, default 5; 0 for none. */
  readonly keepAliveTmo?: number;
  readonly hdrDigest?: boolean;
  readonly dataDigest?: boolean;
  readonly disableSqflow?: boolean;
  /** Source address and device. */
  readonly hostTraddr?: string;
  readonly hostIface?: string;
  readonly tos?: number;
  /** Default 30 s. */
  readonly ioTimeoutMs?: number;
  /** Default 60 s. */
  readonly adminTimeoutMs?: number;
  /** Seconds between attempts to connect again, default 10. */
  readonly reconnectDelay?: number;
  /** Seconds after which a lost controller is given up, default 600; 0 at once, -1 never. */
  readonly ctrlLossTmo?: number;
  /** Seconds that calls wait for a lost controller; default: as long as it is tried to connect again. */
  readonly fastIoFailTmo?: number;
  /** Allows a second connection by the same way. Default false. */
  readonly duplicateConnect?: boolean;
  /**
   * How often a command is sent again that failed for a passing reason: a lost connection, a damaged transfer. Default 5,
   * as Linux has it. A write may then be executed twice, the second time after later ones; 0 leaves it to the caller.
   */
  readonly maxRetries?: number;
  /** R2Ts of one command that the controller may have outstanding, default 4. */
  readonly maxR2t?: number;
  /** Alignment of data wanted from the controller: dwords minus one, default 0. */
  readonly hpda?: number;
  /** Gives up connecting; afterwards without effect. */
  readonly signal?: AbortSignal;
}

/** Where a controller is, and from where it is reached. */
export interface ControllerPlace {
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
  readonly hostTraddr: string;
  readonly hostIface: string;
  readonly hostnqn: string;
  readonly hostid: string;
}

/** What a controller is made of. */
export interface ControllerParts {
  readonly options: HostControllerOptions;
  readonly runtime: HostRuntime;
  readonly maxRetries: number;
  readonly place: ControllerPlace;
}

/** Checks options and fills in defaults. @throws NvbraidError EINVAL, ENOTSUP */
export function controllerParts(options: ControllerOptions): ControllerParts {
  check(options);
  const { hostnqn, hostid } = hostIdentity(options);
  if (options.dataDigest) installNativeCrc32c();
  const discovery = options.nqn === DISCOVERY_NQN;
  const lossTmo = options.ctrlLossTmo ?? 600;
  const { hostTraddr, hostIface, tos, fastIoFailTmo } = options;
  const name = options.transport ?? 'tcp';
  const port = portNumber(options.trsvcid ?? NVME_TCP_PORT);
  const runtime = new HostRuntime(usableRow(name), {
    address: options.traddr,
    port,
    ...(hostTraddr === undefined ? {} : { hostTraddr }),
    ...(hostIface === undefined ? {} : { hostIface }),
    ...(tos === undefined ? {} : { tos }),
  });
  return {
    options: {
      nqn: options.nqn,
      hostnqn,
      hostid,
      nrIoQueues: discovery ? 0 : (options.nrIoQueues ?? 1),
      nrWriteQueues: discovery ? 0 : (options.nrWriteQueues ?? 0),
      queueSize: options.queueSize ?? 128,
      keepAliveMs: Math.round((options.keepAliveTmo ?? (discovery ? 0 : 5)) * 1000),
      hdrDigest: options.hdrDigest ?? false,
      dataDigest: options.dataDigest ?? false,
      disableSqflow: options.disableSqflow ?? false,
      ioTimeoutMs: options.ioTimeoutMs ?? 30_000,
      adminTimeoutMs: options.adminTimeoutMs ?? 60_000,
      reconnectDelayMs: (options.reconnectDelay ?? 10) * 1000,
      ctrlLossTmoMs: lossTmo < 0 ? Number.POSITIVE_INFINITY : lossTmo * 1000,
      ...(fastIoFailTmo === undefined || fastIoFailTmo < 0 ? {} : { fastIoFailTmoMs: fastIoFailTmo * 1000 }),
      ...(options.maxR2t === undefined ? {} : { maxR2t: options.maxR2t }),
      ...(options.hpda === undefined ? {} : { hpda: options.hpda }),
    },
    runtime,
    maxRetries: options.maxRetries ?? MAX_RETRIES,
    place: {
      transport: name,
      traddr: options.traddr,
      trsvcid: port,
      hostTraddr: hostTraddr ?? '',
      hostIface: hostIface ?? '',
      hostnqn,
      hostid,
    },
  };
}

function check(options: ControllerOptions): void {
  refuseTls(options);
  const length = new TextEncoder().encode(options.nqn).length;
  if (length === 0 || length > 223) throw new NvbraidError('EINVAL', `nqn has 1 to 223 bytes: ${length}`);
  if (options.hostid !== undefined && (!isUuid(options.hostid) || /^[0-]*$/.test(options.hostid))) {
    throw new NvbraidError('EINVAL', `hostid is not a UUID: ${options.hostid}`);
  }
  inRange('nrIoQueues', options.nrIoQueues, 0, IO_QUEUES_MAX);
  inRange('nrWriteQueues', options.nrWriteQueues, 0, IO_QUEUES_MAX);
  inRange('queueSize', options.queueSize, QUEUE_SIZE_MIN, QUEUE_SIZE_MAX);
  inRange('maxR2t', options.maxR2t, 1, R2T_MAX);
  inRange('maxRetries', options.maxRetries, 0, 1000);
  inRange('hpda', options.hpda, 0, PDA_MAX);
  inRange('tos', options.tos, 0, 255);
  atLeast('keepAliveTmo', options.keepAliveTmo, 0);
  atLeast('ioTimeoutMs', options.ioTimeoutMs, 1);
  atLeast('adminTimeoutMs', options.adminTimeoutMs, 1);
  atLeast('reconnectDelay', options.reconnectDelay, 0);
  atLeast('ctrlLossTmo', options.ctrlLossTmo, -1);
  atLeast('fastIoFailTmo', options.fastIoFailTmo, -1);
  failBeforeLoss(options);
}

function inRange(name: string, value: number | undefined, from: number, to: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= from && value <= to)) return;
  throw new NvbraidError('EINVAL', `${name} is a whole number from ${from} to ${to}: ${value}`);
}

function atLeast(name: string, value: number | undefined, least: number): void {
  if (value === undefined || value >= least) return;
  throw new NvbraidError('EINVAL', `${name} is at least ${least}: ${value}`);
}

function portNumber(trsvcid: number | string): number {
  const port = Number(trsvcid);
  if (trsvcid !== '' && Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new NvbraidError('EINVAL', `trsvcid is a port number: ${trsvcid}`);
}

/** As Linux demands: a time after the controller has been given up would mean nothing. */
function failBeforeLoss({ fastIoFailTmo = -1, ctrlLossTmo = 600 }: ControllerOptions): void {
  if (fastIoFailTmo < 0 || ctrlLossTmo < 0 || fastIoFailTmo <= ctrlLossTmo) return;
  throw new NvbraidError(
    'EINVAL',
    `fastIoFailTmo ${fastIoFailTmo} is longer than ctrlLossTmo ${ctrlLossTmo}, after which the controller is given up`,
  );
}
