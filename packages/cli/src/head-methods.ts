import type { ConnectOptions, HeadMethods, HostSubsystem } from 'nvbraid';
import { connectStatus } from './connect-status.ts';
import { controllerMethods } from './control-methods.ts';
import { pathMethods } from './path-methods.ts';
import { subsystemMethods } from './subsystem-methods.ts';

/* Loaded in every thread of `nvbraid nbd`: what it answers for the control socket of the process. */

export function headMethods(subsystem: HostSubsystem, options: Omit<ConnectOptions, 'signal'>): HeadMethods {
  const startedMs = performance.now();
  const [first] = subsystem.controllers;
  const {
    paths: _paths,
    nqn: _nqn,
    iopolicy: _iopolicy,
    safeFailover: _safe,
    delayedRemovalSecs: _secs,
    ...defaults
  } = options;
  return {
    ...controllerMethods(subsystem),
    ...subsystemMethods(subsystem),
    ...pathMethods(subsystem, defaults, () => {}),
    status: () => connectStatus(subsystem, first!, startedMs),
  };
}
