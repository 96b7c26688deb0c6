import { Subtype } from '@nvbraid/wire';
import { type ControllerOptions, discover, NvbraidError } from 'nvbraid';
import { advised } from './advice.ts';
import type { AssociationValues } from './options.ts';
import { UsageError } from './usage-error.ts';

/** Where a controller is. */
export interface Address {
  readonly transport: string;
  readonly traddr: string;
  readonly trsvcid: number;
  readonly nqn: string;
}

type Given = Partial<AssociationValues> & {
  readonly 'nr-io-queues'?: number;
  readonly 'queue-size'?: number;
  readonly 'disable-sqflow'?: boolean;
  readonly 'reconnect-delay'?: number;
  readonly 'ctrl-loss-tmo'?: number;
  readonly 'nr-write-queues'?: number;
  readonly 'fast-io-fail-tmo'?: number;
};

/** Our options as the library spells them; what was not given is left to the library. @throws UsageError */
export function connectOptions(given: Given): Omit<ControllerOptions, 'traddr' | 'nqn'> {
  checkRecovery(given);
  const entries: [keyof ControllerOptions, unknown][] = [
    ['hostnqn', given.hostnqn],
    ['hostid', given.hostid],
    ['hostTraddr', given['host-traddr']],
    ['hostIface', given['host-iface']],
    ['tos', given.tos],
    ['keepAliveTmo', given['keep-alive-tmo']],
    ['hdrDigest', given['hdr-digest']],
    ['dataDigest', given['data-digest']],
    ['nrIoQueues', given['nr-io-queues']],
    ['queueSize', given['queue-size']],
    ['disableSqflow', given['disable-sqflow']],
    ['reconnectDelay', given['reconnect-delay']],
    ['ctrlLossTmo', given['ctrl-loss-tmo']],
    ['nrWriteQueues', given['nr-write-queues']],
    ['fastIoFailTmo', given['fast-io-fail-tmo']],
  ];
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** As Linux demands: a time after the controller has been given up would mean nothing. */
function checkRecovery({ 'fast-io-fail-tmo': fast = -1, 'ctrl-loss-tmo': loss = -1 }: Given): void {
  if (fast < 0 || loss < 0 || fast <= loss) return;
  throw new UsageError(
    `--fast-io-fail-tmo ${fast} is longer than --ctrl-loss-tmo ${loss}, after which a controller is given up`,
  );
}

/**
 * The only subsystem that the target at this address tells about.
 * @throws NvbraidError ENOENT when there is none, EINVAL when there are several
 */
export async function onlySubsystem(
  address: Omit<Address, 'nqn'>,
  given: Given,
  signal: AbortSignal | undefined,
): Promise<string> {
  const work = discover({
    ...connectOptions(given),
    ...address,
    ...(signal === undefined ? {} : { signal }),
  });
  const { records } = await advised(address, work);
  const nqns = [...new Set(records.filter((record) => record.subtype === Subtype.Nvme).map((record) => record.subnqn))];
  const where = formatAddress(address.traddr, address.trsvcid);
  if (nqns.length === 1) return nqns[0]!;
  if (nqns.length === 0) throw new NvbraidError('ENOENT', `${where} tells about no subsystem; name one with -n`);
  throw new NvbraidError('EINVAL', `${where} has several subsystems (${nqns.join(', ')}); choose one with -n`);
}

/** `127.0.0.1:4420`, `[::1]:4420` */
export function formatAddress(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
