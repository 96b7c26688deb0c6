import type { Methods, Params } from '@nvbraid/manage';
import { type HostController, type HostSubsystem, NvbraidError, type PathDefaults } from 'nvbraid';
import { advised } from './advice.ts';
import { named, whole } from './control-methods.ts';
import { PORT_MAX } from './options.ts';
import type { GivenPath } from './path-option.ts';
import { controllerStatus } from './subsystem-status.ts';

/**
 * How paths come to a subsystem that is connected, and go.
 * @param defaults of paths that are added: those of the paths that it was connected by
 * @param added told of a controller that has come
 */
export function pathMethods(
  subsystem: HostSubsystem,
  defaults: PathDefaults,
  added: (controller: HostController) => void,
): Methods {
  return {
    'add-path': async (params) => {
      const path = pathOf(params);
      const [first] = subsystem.controllers;
      if (first === undefined) throw new NvbraidError('ESHUTDOWN', `${subsystem.nqn} is being disconnected`);
      // All paths are of one host, whatever this machine is called by now.
      const { hostnqn, hostid } = first;
      const duplicateConnect = params.duplicate === true;
      const work = subsystem.addPath({ ...defaults, hostnqn, hostid, ...path, duplicateConnect });
      const controller = await named(advised({ ...path, nqn: subsystem.nqn }, work));
      added(controller);
      const heads = [...subsystem.heads.values()].filter((head) =>
        head.core.paths.some((one) => one.controller === controller.core),
      );
      return { ...controllerStatus(subsystem, controller), heads: heads.map(({ name }) => name) };
    },
    'remove-controller': async (params) => {
      const controller = subsystem.controllerNamed(text(params, 'controller'));
      if (subsystem.controllers.length === 1) {
        throw new NvbraidError('EINVAL', 'it is the last controller: disconnect without a device ends all');
      }
      await controller.disconnect();
    },
  };
}

/** @throws NvbraidError EINVAL */
export function pathOf(params: Params): GivenPath {
  const optional = (name: 'hostTraddr' | 'hostIface'): object =>
    params[name] === undefined ? {} : { [name]: text(params, name) };
  return {
    transport: text(params, 'transport'),
    traddr: text(params, 'traddr'),
    trsvcid: whole(params, 'trsvcid', 1, PORT_MAX),
    ...optional('hostTraddr'),
    ...optional('hostIface'),
  };
}

function text(params: Params, name: string): string {
  const value = params[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new NvbraidError('EINVAL', `${name} is a text`);
}
