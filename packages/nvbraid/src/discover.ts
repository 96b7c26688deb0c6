import { NvbraidError } from '@nvbraid/base';
import {
  DISCOVERY_ENTRY_SIZE,
  DISCOVERY_HEADER_SIZE,
  DISCOVERY_NQN,
  DISCOVERY_TCP_PORT,
  type DiscoveryEntry,
  DiscoveryHeader,
  Lid,
  parseDiscoveryLog,
} from '@nvbraid/wire';
import { type ControllerOptions, connectController } from './connect.ts';
import type { HostController } from './host-controller.ts';
import { DISCOVERY_ATTEMPTS, DISCOVERY_RECORDS_MAX } from './host-limits.ts';
import type { IoOptions } from './host-namespace.ts';

export interface DiscoverOptions extends Omit<ControllerOptions, 'nqn' | 'nrIoQueues' | 'queueSize'> {
  /** Default: the well-known discovery subsystem. */
  readonly nqn?: string;
}

/** An entry of a discovery log. */
export type DiscoveryLogEntry = DiscoveryEntry;

export interface DiscoveryResult {
  /** Changes with every change of the log. */
  readonly genctr: number;
  readonly records: readonly DiscoveryLogEntry[];
}

/**
 * Asks a discovery controller what there is, by an association of its own. The default port is 8009. Referrals are answered
 * as records; `discoverAll` follows them.
 * @throws NvbraidError and NvmeError, as `connect`
 */
export async function discover(options: DiscoverOptions): Promise<DiscoveryResult> {
  const controller = await connectController({
    ...options,
    trsvcid: options.trsvcid ?? DISCOVERY_TCP_PORT,
    nqn: options.nqn ?? DISCOVERY_NQN,
    nrIoQueues: 0,
    keepAliveTmo: options.keepAliveTmo ?? 0,
    ctrlLossTmo: 0,
    // Which is the limit for what waits, too.
    fastIoFailTmo: -1,
  });
  try {
    return await readDiscoveryLog(controller);
  } finally {
    await controller.disconnect();
  }
}

/**
 * Reads the log of a discovery controller, again if it changes while it is being read (Base 2.1, 5.1.12.3.1). Only the last
 * of the commands lets the controller tell of the next change: of one that is missed before, the counter tells.
 * @throws NvbraidError EPROTO, EBUSY when it never stays as it is; NvmeError
 */
export async function readDiscoveryLog(
  controller: Pick<HostController, 'getLogPage'>,
  options: IoOptions = {},
): Promise<DiscoveryResult> {
  for (let attempt = 0; attempt < DISCOVERY_ATTEMPTS; attempt++) {
    const before = await readHeader(controller, 1, options);
    if (before.numrec > DISCOVERY_RECORDS_MAX) {
      throw new NvbraidError(
        'EPROTO',
        `the discovery log has ${before.numrec} records, more than ${DISCOVERY_RECORDS_MAX}`,
        { retryable: false },
      );
    }
    const length = DISCOVERY_HEADER_SIZE + before.numrec * DISCOVERY_ENTRY_SIZE;
    const log = parseDiscoveryLog(await controller.getLogPage(Lid.Discovery, length, { rae: 1 }, options));
    if (!log.ok) throw new NvbraidError('EPROTO', `discovery log: ${log.reason}`);
    const after = await readHeader(controller, 0, options);
    if (after.genctr !== before.genctr || log.value.genctr !== before.genctr) continue;
    return { genctr: log.value.genctr, records: log.value.entries };
  }
  throw new NvbraidError('EBUSY', `the discovery log changed during ${DISCOVERY_ATTEMPTS} attempts to read it`);
}

async function readHeader(
  controller: Pick<HostController, 'getLogPage'>,
  rae: 0 | 1,
  options: IoOptions,
): Promise<DiscoveryHeader> {
  const page = await controller.getLogPage(Lid.Discovery, DISCOVERY_HEADER_SIZE, { rae }, options);
  return DiscoveryHeader.parse(new DataView(page.buffer), 0);
}
