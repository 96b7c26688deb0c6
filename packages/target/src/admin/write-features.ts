import { DNR, Scope, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Feature } from '../controller-kind.ts';

/** Values of the Namespace Write Protection feature (Base 2.1, 5.1.25.1.32). */
export const WriteProtection = { None: 0, Protected: 1, UntilPowerCycle: 2, Permanent: 3 } as const;

/** NWPC: protected or not, and until power cycle, which is until the target ends. Nothing is kept for ever. */
export const NWPC = 0x03;

/** What was written before is stable when `done` is called. */
function flushed(controller: Controller, done: () => void): void {
  const { hooks } = controller.target;
  if (hooks.flush === undefined) done();
  else hooks.flush(controller.subsystem!, done);
}

/**
 * Devices are shared by all controllers, so what one switches off is off for the whole subsystem: every write is forced
 * to the medium while any controller wants it so. Each controller tells what it was set to itself.
 */
export const volatileWriteCache: Feature = {
  effects: { fsupp: 1, fsp: Scope.Controller },
  initial: () => 1,
  current: (controller) => (controller.features.writeCache ? 1 : 0),
  setLater(controller, dw11, _namespaces, done) {
    controller.features.writeCache = (dw11 & 1) === 1;
    controller.subsystem!.writeCacheChanged();
    if (controller.features.writeCache) done(0);
    else flushed(controller, () => done(0));
  },
};

/** Until power cycle cannot be taken back, and what the operator has made read-only hosts cannot make writable. */
export const namespaceWriteProtection: Feature = {
  effects: { fsupp: 1, fsp: Scope.Namespace, ncc: 1 },
  namespaceSpecific: true,
  check(_controller, dw11, setting, namespaces) {
    if (!setting) return 0;
    const state = dw11 & 7;
    if (state > WriteProtection.UntilPowerCycle) return Status.InvalidField | DNR;
    for (const { writeProtection, readOnly } of namespaces) {
      if (writeProtection === WriteProtection.UntilPowerCycle && state !== writeProtection) {
        return Status.FeatureNotChangeable | DNR;
      }
      if (readOnly && state === WriteProtection.None) return Status.FeatureNotChangeable | DNR;
    }
    return 0;
  },
  initial: () => WriteProtection.None,
  current(_controller, _dw11, namespace) {
    if (namespace === null) return WriteProtection.None;
    return namespace.writeProtection || (namespace.readOnly ? WriteProtection.Protected : WriteProtection.None);
  },
  setLater(controller, dw11, namespaces, done) {
    const state = dw11 & 7;
    for (const { nsid } of namespaces) controller.subsystem!.setWriteProtection(nsid, state);
    if (state === WriteProtection.None) done(0);
    else flushed(controller, () => done(0));
  },
};
