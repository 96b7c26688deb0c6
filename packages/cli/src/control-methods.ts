import { controlLimits, isObject, type Methods, type Params } from '@nvbraid/manage';
import { type BlockRange, type HostNamespace, NvbraidError, NvmeError } from 'nvbraid';
import type { Connected } from './connected.ts';
import { zoneMethods } from './zoned-session.ts';

/** What `nvbraid connect` answers besides `status`: the commands of controllers and namespaces. */
export function controllerMethods(connected: Connected): Methods {
  return {
    ...zoneMethods(connected, whole, named),
    read: async (params) => {
      const namespace = namespaceOf(connected, params);
      const bytes = whole(params, 'bytes', 0, controlLimits.dataBytes);
      const slba = whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER);
      const buffer = Buffer.alloc(bytes);
      await named(namespace.read(slba, buffer));
      return { data: buffer.toString('base64') };
    },
    write: async (params) => {
      const namespace = namespaceOf(connected, params);
      const slba = whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER);
      const { data, fua } = params;
      if (typeof data !== 'string') throw new NvbraidError('EINVAL', 'data is a string in base64');
      await named(namespace.write(slba, Buffer.from(data, 'base64'), { fua: fua === true }));
    },
    compare: async (params) => {
      const { data } = params;
      if (typeof data !== 'string') throw new NvbraidError('EINVAL', 'data is a string in base64');
      const slba = whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER);
      return { equal: await named(namespaceOf(connected, params).compare(slba, Buffer.from(data, 'base64'))) };
    },
    verify: async (params) => {
      const { slba, blocks } = rangeOf(params);
      await named(namespaceOf(connected, params).verify(slba, blocks));
    },
    'write-uncor': async (params) => {
      const { slba, blocks } = rangeOf(params);
      await named(namespaceOf(connected, params).writeUncorrectable(slba, blocks));
    },
    'write-zeroes': async (params) => {
      const { slba, blocks } = rangeOf(params);
      const { deallocate, fua } = params;
      await named(
        namespaceOf(connected, params).writeZeroes(slba, blocks, {
          deallocate: deallocate === true,
          fua: fua === true,
        }),
      );
    },
    dsm: async (params) => {
      const { deallocate, write, read } = params;
      const attributes = { deallocate: deallocate === true, write: write === true, read: read === true };
      await named(namespaceOf(connected, params).datasetManagement(rangesOf(params), attributes));
    },
    copy: async (params) => {
      const sdlba = whole(params, 'sdlba', 0, Number.MAX_SAFE_INTEGER);
      await named(namespaceOf(connected, params).copy(rangesOf(params), sdlba, { fua: params.fua === true }));
    },
    flush: async (params) => {
      await named(namespaceOf(connected, params).flush());
    },
    ...reservationMethods(connected),
  };
}

function namespaceOf(connected: Connected, params: Params): HostNamespace {
  return connected.namespace(whole(params, 'nsid', 1, 0xfffffffe));
}

function rangeOf(params: Params): BlockRange {
  return {
    slba: whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER),
    blocks: whole(params, 'blocks', 0, Number.MAX_SAFE_INTEGER),
  };
}

function rangesOf({ ranges }: Params): BlockRange[] {
  if (!Array.isArray(ranges)) throw new NvbraidError('EINVAL', 'ranges is a list of ranges, each with slba and blocks');
  return ranges.map((range) => rangeOf(isObject(range) ? range : {}));
}

function reservationMethods(connected: Connected): Methods {
  return {
    'resv-register': async (params) => {
      const command = {
        rrega: whole(params, 'rrega', 0, 7),
        cptpl: whole(params, 'cptpl', 0, 3),
        iekey: params.iekey === true,
        crkey: key(params, 'crkey'),
        nrkey: key(params, 'nrkey'),
      };
      await named(namespaceOf(connected, params).resvRegister(command));
    },
    'resv-acquire': async (params) => {
      const command = {
        racqa: whole(params, 'racqa', 0, 7),
        rtype: whole(params, 'rtype', 0, 255),
        iekey: params.iekey === true,
        crkey: key(params, 'crkey'),
        prkey: key(params, 'prkey'),
      };
      await named(namespaceOf(connected, params).resvAcquire(command));
    },
    'resv-release': async (params) => {
      const command = {
        rrela: whole(params, 'rrela', 0, 7),
        rtype: whole(params, 'rtype', 0, 255),
        iekey: params.iekey === true,
        crkey: key(params, 'crkey'),
      };
      await named(namespaceOf(connected, params).resvRelease(command));
    },
    'resv-report': async (params) => {
      const namespace = namespaceOf(connected, params);
      const { registrants, ...rest } = await named(namespace.resvReport(params.eds === true ? { eds: true } : {}));
      const list = registrants.map(({ rkey, ...registrant }) => ({ ...registrant, rkey: `0x${rkey.toString(16)}` }));
      return { ...rest, registrants: list };
    },
  };
}

/** A reservation key: JSON has no bigint, so that it comes in hexadecimal. */
function key(params: Params, name: string): bigint {
  const value = params[name];
  if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value)) return BigInt(value);
  throw new NvbraidError('EINVAL', `${name} is a string of up to 16 hexadecimal digits after 0x`);
}

export function whole(params: Params, name: string, from: number, to: number): number {
  const value = params[name];
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value;
  throw new NvbraidError('EINVAL', `${name} is a whole number from ${from} to ${to}`);
}

/** Puts the name of an error status beside its numbers, for the other end. */
export async function named<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!(error instanceof NvmeError)) throw error;
    const context = { ...error.context, name: error.statusName };
    throw new NvbraidError('ENVME', error.message, { context, cause: error });
  }
}
