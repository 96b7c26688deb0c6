import { isObject, type Methods, type Params } from '@nvbraid/manage';
import { Cns, Csi, ZoneState } from '@nvbraid/wire';
import { NvbraidError, type ZonedNamespace, type ZoneStateName } from 'nvbraid';
import type { Connected } from './connected.ts';

/** A zone as it is printed and handed between processes. */
export interface ZoneEntry {
  readonly slba: number;
  /** Null in states that have no write pointer. */
  readonly wp: number | null;
  readonly cap: number;
  /** As in the zone descriptor. */
  readonly state: number;
  readonly attrs: number;
}

export const ZONE_ACTIONS = ['open', 'close', 'finish', 'reset', 'offline'] as const;
export type ZoneAction = (typeof ZONE_ACTIONS)[number];

export interface ZoneReportQuery {
  readonly slba: number;
  readonly state: ZoneStateName | null;
  /** Null: all. */
  readonly limit: number | null;
}

/** What a session can do with the zones of a namespace. */
export interface ZonedSession {
  /** The 4096 bytes of Identify Namespace with CSI 2. */
  identifyNamespaceZoned(nsid: number): Promise<Uint8Array>;
  /** The 4096 bytes of Identify Controller with CSI 2. */
  identifyControllerZoned(): Promise<Uint8Array>;
  zoneReport(nsid: number, query: ZoneReportQuery): Promise<ZoneEntry[]>;
  /** @returns the block that the data begins at */
  zoneAppend(nsid: number, zslba: number, buffer: Uint8Array, fua: boolean): Promise<number>;
  zoneAction(nsid: number, action: ZoneAction, zone: number | 'all'): Promise<void>;
}

/** By an association of this process. */
export function zonedSession(connected: Connected): ZonedSession {
  return {
    identifyNamespaceZoned: (nsid) => connected.admin.identifyRaw(Cns.CsNamespace, nsid, { csi: Csi.Zoned }),
    identifyControllerZoned: () => connected.admin.identifyRaw(Cns.CsController, 0, { csi: Csi.Zoned }),
    async zoneReport(nsid, { slba, state, limit }) {
      const zones = await connected.zoned(nsid);
      const options = { slba, ...(state === null ? {} : { state }), ...(limit === null ? {} : { limit }) };
      return (await zones.report(options)).map((zone) => ({
        slba: zone.zslba,
        wp: zone.writePointer,
        cap: zone.capacity,
        state: zone.descriptor.zs,
        attrs: zone.attributes,
      }));
    },
    async zoneAppend(nsid, zslba, buffer, fua) {
      return (await connected.zoned(nsid)).append(zslba, buffer, { fua });
    },
    async zoneAction(nsid, action, zone) {
      await runAction(await connected.zoned(nsid), action, zone);
    },
  };
}

function runAction(zones: ZonedNamespace, action: ZoneAction, zone: number | 'all'): Promise<void> {
  switch (action) {
    case 'open':
      return zones.open(zone);
    case 'close':
      return zones.close(zone);
    case 'finish':
      return zones.finish(zone);
    case 'reset':
      return zones.reset(zone);
    case 'offline':
      return zones.offline(zone);
  }
}

type Call = (method: string, params: Params) => Promise<unknown>;
type Data = (method: string, params: Params, length: number) => Promise<Uint8Array>;

/** By a process that is connected. @param data for methods that answer bytes */
export function remoteZonedSession(call: Call, data: Data): ZonedSession {
  return {
    identifyNamespaceZoned: (nsid) => data('identify', { cns: Cns.CsNamespace, nsid, csi: Csi.Zoned }, 4096),
    identifyControllerZoned: () => data('identify', { cns: Cns.CsController, nsid: 0, csi: Csi.Zoned }, 4096),
    async zoneReport(nsid, { slba, state, limit }) {
      const result = await call('zone-report', { nsid, slba, state, limit });
      if (isObject(result) && Array.isArray(result.zones)) return result.zones as ZoneEntry[];
      throw new NvbraidError('EPROTO', 'zone-report: the process answered with something else');
    },
    async zoneAppend(nsid, zslba, buffer, fua) {
      const result = await call('zone-append', { nsid, zslba, fua, data: Buffer.from(buffer).toString('base64') });
      if (isObject(result) && typeof result.slba === 'number') return result.slba;
      throw new NvbraidError('EPROTO', 'zone-append: the process answered with something else');
    },
    async zoneAction(nsid, action, zone) {
      await call('zone-action', { nsid, action, zone });
    },
  };
}

type Whole = (params: Params, name: string, from: number, to: number) => number;
type Named = <T>(promise: Promise<T>) => Promise<T>;

/** What `nvbraid connect` answers about zones. */
export function zoneMethods(connected: Connected, whole: Whole, named: Named): Methods {
  const session = zonedSession(connected);
  const nsidOf = (params: Params): number => whole(params, 'nsid', 1, 0xfffffffe);
  const most = Number.MAX_SAFE_INTEGER;
  return {
    'zone-report': async (params) => {
      const { state = null } = params;
      if (state !== null && !(typeof state === 'string' && state in ZoneState)) {
        throw new NvbraidError('EINVAL', `state is one of ${Object.keys(ZoneState).join(', ')}`);
      }
      const query = {
        slba: whole(params, 'slba', 0, most),
        state: state as ZoneStateName | null,
        limit: params.limit === null || params.limit === undefined ? null : whole(params, 'limit', 1, most),
      };
      return { zones: (await named(session.zoneReport(nsidOf(params), query))).map((zone) => ({ ...zone })) };
    },
    'zone-append': async (params) => {
      const { data, fua } = params;
      if (typeof data !== 'string') throw new NvbraidError('EINVAL', 'data is a string in base64');
      const zslba = whole(params, 'zslba', 0, most);
      const buffer = Buffer.from(data, 'base64');
      return { slba: await named(session.zoneAppend(nsidOf(params), zslba, buffer, fua === true)) };
    },
    'zone-action': async (params) => {
      const action = ZONE_ACTIONS.find((one) => one === params.action);
      if (action === undefined) throw new NvbraidError('EINVAL', `action is one of ${ZONE_ACTIONS.join(', ')}`);
      const zone = params.zone === 'all' ? 'all' : whole(params, 'zone', 0, most);
      await named(session.zoneAction(nsidOf(params), action, zone));
    },
  };
}
