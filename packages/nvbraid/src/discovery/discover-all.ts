import { NvbraidError } from '@nvbraid/base';
import { DISCOVERY_TCP_PORT } from '@nvbraid/wire';
import { type DiscoverOptions, type DiscoveryResult, discover } from '../discover.ts';
import { DISCOVERY_AT_ONCE, DISCOVERY_SERVICES_MAX, DISCOVERY_TIMEOUT_MS, REFERRAL_DEPTH_MAX } from '../host-limits.ts';
import { addressKey, isReferral, recordAddress } from './service-address.ts';

/** What one discovery service said. */
export interface DiscoveredService extends DiscoveryResult {
  readonly traddr: string;
  readonly trsvcid: number;
  /** Referrals that lead to it; 0 for the one that was asked for. */
  readonly depth: number;
  /** Why it said nothing. */
  readonly error: NvbraidError | null;
}

export interface DiscoveredServices {
  /** The one that was asked for comes first. */
  readonly services: readonly DiscoveredService[];
  /** Referrals that were not followed because there are too many, or one behind the other. */
  readonly omitted: number;
}

/**
 * As `discover`, and follows referrals: every address once, however often and from wherever it is referred to. A service
 * that does not answer is told of in `error`; the others count.
 * @throws NvbraidError, NvmeError as `discover`, of the first service
 */
export async function discoverAll(options: DiscoverOptions): Promise<DiscoveredServices> {
  const { traddr, signal } = options;
  const trsvcid = Number(options.trsvcid ?? DISCOVERY_TCP_PORT);
  const first = await discover(options);
  const services: DiscoveredService[] = [{ traddr, trsvcid, depth: 0, ...first, error: null }];
  const seen = new Set([addressKey({ traddr, trsvcid })]);
  let omitted = 0;
  for (let level = services.slice(), depth = 1; level.length > 0; depth++) {
    const next: DiscoverOptions[] = [];
    const found: DiscoveredService[] = [];
    for (const record of level.flatMap(({ records }) => records.filter(isReferral))) {
      try {
        const address = recordAddress(record, options.transport);
        const key = addressKey(address);
        if (seen.has(key)) continue;
        if (depth > REFERRAL_DEPTH_MAX || seen.size >= DISCOVERY_SERVICES_MAX) {
          omitted++;
          continue;
        }
        seen.add(key);
        next.push({ ...options, ...address });
      } catch (error) {
        if (services.length + found.length >= DISCOVERY_SERVICES_MAX) omitted++;
        else found.push(silent(record.traddr, Number(record.trsvcid) || 0, depth, error as NvbraidError));
      }
    }
    while (next.length > 0) {
      found.push(...(await Promise.all(next.splice(0, DISCOVERY_AT_ONCE).map((one) => ask(one, depth)))));
      if (signal?.aborted) throw new NvbraidError('EABORTED', 'discovery was aborted', { cause: signal.reason });
    }
    services.push(...found);
    level = found;
  }
  return { services, omitted };
}

async function ask(options: DiscoverOptions, depth: number): Promise<DiscoveredService> {
  const { traddr } = options;
  const trsvcid = Number(options.trsvcid);
  const late = AbortSignal.timeout(DISCOVERY_TIMEOUT_MS);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  try {
    return { traddr, trsvcid, depth, ...(await discover({ ...options, signal })), error: null };
  } catch (error) {
    if (!(error instanceof NvbraidError)) throw error;
    const gaveUp = `discovery at ${traddr} port ${trsvcid} took longer than ${DISCOVERY_TIMEOUT_MS / 1000} s`;
    return silent(traddr, trsvcid, depth, late.aborted ? new NvbraidError('ETIMEDOUT', gaveUp) : error);
  }
}

function silent(traddr: string, trsvcid: number, depth: number, error: NvbraidError): DiscoveredService {
  return { traddr, trsvcid, depth, genctr: 0, records: [], error };
}
