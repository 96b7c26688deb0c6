import { controlLimits, type Methods, type Params } from '@nvbraid/manage';
import { type HostController, NvbraidError, NvmeError } from 'nvbraid';

/** What `nvbraid connect` answers besides `status`: the commands of one controller. */
export function controllerMethods(controller: HostController): Methods {
  return {
    identify: async (params) => {
      const cns = whole(params, 'cns', 0, 255);
      const nsid = whole(params, 'nsid', 0, 0xffffffff);
      const page = cns === 1 ? controller.identifyBytes : await named(controller.identifyRaw(cns, nsid));
      return { data: Buffer.from(page).toString('base64') };
    },
    read: async (params) => {
      const namespace = controller.namespace(whole(params, 'nsid', 1, 0xfffffffe));
      const bytes = whole(params, 'bytes', 0, controlLimits.dataBytes);
      const slba = whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER);
      const buffer = Buffer.alloc(bytes);
      await named(namespace.read(slba, buffer));
      return { data: buffer.toString('base64') };
    },
    write: async (params) => {
      const namespace = controller.namespace(whole(params, 'nsid', 1, 0xfffffffe));
      const slba = whole(params, 'slba', 0, Number.MAX_SAFE_INTEGER);
      const { data, fua } = params;
      if (typeof data !== 'string') throw new NvbraidError('EINVAL', 'data is a string in base64');
      await named(namespace.write(slba, Buffer.from(data, 'base64'), { fua: fua === true }));
    },
    flush: async (params) => {
      await named(controller.namespace(whole(params, 'nsid', 1, 0xfffffffe)).flush());
    },
  };
}

function whole(params: Params, name: string, from: number, to: number): number {
  const value = params[name];
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value;
  throw new NvbraidError('EINVAL', `${name} is a whole number from ${from} to ${to}`);
}

/** Puts the name of an error status beside its numbers, for the other end. */
async function named<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (!(error instanceof NvmeError)) throw error;
    const context = { ...error.context, name: error.statusName };
    throw new NvbraidError('ENVME', error.message, { context, cause: error });
  }
}
