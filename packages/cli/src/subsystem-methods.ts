import { controlLimits, type Methods, type Params } from '@nvbraid/manage';
import { type HostController, type HostSubsystem, NvbraidError } from 'nvbraid';
import { named, whole } from './control-methods.ts';
import { readProperty } from './property.ts';

/** What `nvbraid connect` answers about its controllers. */
export function subsystemMethods(subsystem: HostSubsystem): Methods {
  /** The one that is named, else one that is live. */
  const controllerOf = (params: Params): HostController => {
    const { controller } = params;
    if (controller === undefined || controller === null) return subsystem.admin;
    return subsystem.controllerNamed(name(controller));
  };
  return {
    iopolicy: ({ iopolicy }) => {
      if (iopolicy !== undefined) {
        if (typeof iopolicy !== 'string') throw new NvbraidError('EINVAL', 'iopolicy is the name of a policy');
        subsystem.setIopolicy(iopolicy);
      }
      return { iopolicy: subsystem.iopolicy, iopolicies: subsystem.core.iopolicy.names() };
    },
    reset: (params) => {
      const all = params.controller === undefined || params.controller === null;
      const controllers = all ? subsystem.controllers : [controllerOf(params)];
      for (const controller of controllers) controller.reset();
      return { controllers: controllers.map((controller) => subsystem.controllerName(controller)) };
    },
    identify: async (params) => {
      const cns = whole(params, 'cns', 0, 255);
      const nsid = whole(params, 'nsid', 0, 0xffffffff);
      const csi = params.csi === undefined ? 0 : whole(params, 'csi', 0, 255);
      const controller = controllerOf(params);
      const page = cns === 1 ? controller.identifyBytes : await named(controller.identifyRaw(cns, nsid, { csi }));
      return { data: Buffer.from(page).toString('base64') };
    },
    'log-page': async (params) => {
      const bytes = whole(params, 'bytes', 4, controlLimits.dataBytes);
      const fields = {
        nsid: whole(params, 'nsid', 0, 0xffffffff),
        lsp: whole(params, 'lsp', 0, 127),
        // Whoever waits for events of this page is the connection, not who reads it here.
        rae: 1,
      };
      const work = controllerOf(params).getLogPage(whole(params, 'lid', 0, 255), bytes, fields);
      return { data: Buffer.from(await named(work)).toString('base64') };
    },
    property: async (params) => {
      const offset = whole(params, 'offset', 0, 0xffff);
      const work = readProperty(controllerOf(params), offset, params.wide === true);
      return { value: `0x${(await named(work)).toString(16)}` };
    },
  };
}

function name(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new NvbraidError('EINVAL', 'controller is the name of a controller, as nvme1');
}
