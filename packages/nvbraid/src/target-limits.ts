import { readFileSync } from 'node:fs';
import { NvbraidError } from '@nvbraid/base';
import { CONTROL_LIMITS, type ControlLimits } from '@nvbraid/target';
import {
  COMMANDS_PER_HOST,
  CONNECT_DEADLINE_MS,
  HALF_OPEN,
  HALF_OPEN_PER_ADDRESS,
  MAX_CONNECTIONS,
  MAX_TIMEOUT_MS,
  MIN_CONNECTIONS,
  PDU_DEADLINE_MS,
  R2T_DEADLINE_MS,
  RESERVED_FILES,
  SEND_DEADLINE_MS,
} from './limits.ts';

/** What peers may make a target hold, and for how long; beyond it they are refused, slowed down or disconnected. */
export interface TargetLimits extends ControlLimits {
  /** Connections at a time. Another one is reset. Default 8192, or what the limit of open files leaves. */
  connections: number;
  /** Connections that have not been answered a Connect yet, of all peers and of one address. Another one is reset. */
  halfOpen: number;
  halfOpenPerAddress: number;
  /** Commands under way of one host in each thread. Beyond it the host's connections are not read. */
  commandsPerHost: number;
  /** Payload memory of one host in each thread, in bytes; default: half of the pool. Beyond it its commands wait. */
  payloadBytesPerHost: number;
  /** From accept until Connect has been answered, in ms. */
  connectTimeoutMs: number;
  /** From the first byte of a PDU until its last one, in ms. */
  pduTimeoutMs: number;
  /** How long a peer may take to receive what waits to be sent to it (1 MiB at most), in ms. */
  sendTimeoutMs: number;
  /** From an R2T until all its data is there, in ms. */
  r2tTimeoutMs: number;
}

const TIMEOUT = [1, MAX_TIMEOUT_MS] as const;

/** Every limit with its range and default; those that depend on others stand in `targetLimits`. */
const RANGES: Readonly<Record<keyof TargetLimits, readonly [least: number, most: number, standard: number]>> = {
  hosts: [1, 65536, CONTROL_LIMITS.hosts],
  controllers: [1, 65535, CONTROL_LIMITS.controllers],
  controllersPerHost: [1, 65535, CONTROL_LIMITS.controllersPerHost],
  queuesPerHost: [1, 1 << 20, CONTROL_LIMITS.queuesPerHost],
  enableTimeoutMs: [...TIMEOUT, CONTROL_LIMITS.enableTimeoutMs],
  connections: [1, 1 << 20, MAX_CONNECTIONS],
  halfOpen: [1, 1 << 20, HALF_OPEN],
  halfOpenPerAddress: [1, 1 << 20, HALF_OPEN_PER_ADDRESS],
  commandsPerHost: [1, 1 << 20, COMMANDS_PER_HOST],
  payloadBytesPerHost: [1 << 20, Number.MAX_SAFE_INTEGER, 0],
  connectTimeoutMs: [...TIMEOUT, CONNECT_DEADLINE_MS],
  pduTimeoutMs: [...TIMEOUT, PDU_DEADLINE_MS],
  sendTimeoutMs: [...TIMEOUT, SEND_DEADLINE_MS],
  r2tTimeoutMs: [...TIMEOUT, R2T_DEADLINE_MS],
};

/**
 * All limits of a target from those that somebody has given.
 * @param openFiles how many files the process may have open
 * @throws NvbraidError EINVAL
 */
export function targetLimits(
  given: Partial<TargetLimits>,
  poolBytes: number,
  openFiles: number = openFileLimit(),
): TargetLimits {
  const limits = Object.fromEntries(Object.entries(RANGES).map(([name, [, , standard]]) => [name, standard]));
  limits.payloadBytesPerHost = Math.max(1 << 20, Math.floor(poolBytes / 2));
  const room = Math.max(MIN_CONNECTIONS, openFiles - RESERVED_FILES);
  limits.connections = Math.min(MAX_CONNECTIONS, room);
  for (const [name, value] of Object.entries(given)) {
    const range = RANGES[name as keyof TargetLimits];
    if (range === undefined) {
      throw new NvbraidError('EINVAL', `limits has no ${name}: there are ${Object.keys(RANGES).join(', ')}`);
    }
    if (value === undefined) continue;
    const [least, most] = range;
    if (!(Number.isInteger(value) && value >= least && value <= most)) {
      throw new NvbraidError('EINVAL', `limits.${name} is a whole number from ${least} to ${most}: ${value}`);
    }
    limits[name] = value;
  }
  if (limits.connections! > room) {
    throw new NvbraidError(
      'EINVAL',
      `limits.connections is ${limits.connections}, but this process may open ${openFiles} files, which leaves ` +
        `${room}: ask for fewer, or raise the limit of open files (ulimit -n, LimitNOFILE)`,
    );
  }
  return limits as unknown as TargetLimits;
}

/** How many files this process may have open; infinite where the system does not say. */
export function openFileLimit(): number {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
