import { DNR, Scope, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Feature } from '../controller-kind.ts';
import { type Namespace, WriteProtection } from '../namespace.ts';

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

/** Why the state cannot be set: what holds until power cycle, or is the operator's will, is not for hosts to change. */
function refusal(namespaces: readonly Namespace[], state: number): number {
  for (const { writeProtection, readOnly } of namespaces) {
    if (writeProtection === WriteProtection.UntilPowerCycle && state !== writeProtection) {
      return Status.FeatureNotChangeable | DNR;
    }
    if (readOnly && state === WriteProtection.None) return Status.FeatureNotChangeable | DNR;
  }
  return 0;
}

/**
 * One namespace after the other: what outlives the target is stable before it holds. What could not be written ends it;
 * the namespaces before that keep their new state, as after any command for all namespaces that fails.
 */
function setProtection(
  controller: Controller,
  namespaces: readonly Namespace[],
  state: number,
  done: (status: number) => void,
): void {
  const subsystem = controller.subsystem!;
  const [namespace, ...others] = namespaces;
  if (namespace === undefined) return done(0);
  // Others were before this one in line: it may have gone, or be protected for good.
  if (subsystem.namespace(namespace.nsid) !== namespace) return done(Status.InvalidNamespaceOrFormat | DNR);
  const refused = refusal([namespace], state);
  if (refused !== 0) return done(refused);
  const saved = (ok: boolean): void => {
    if (!ok) return done(Status.InternalError);
    if (subsystem.namespace(namespace.nsid) === namespace) subsystem.setWriteProtection(namespace.nsid, state);
    setProtection(controller, others, state, done);
  };
  const { hooks } = controller.target;
  const kept = (value: number): boolean => value === WriteProtection.Protected;
  if (hooks.saveProtection === undefined || kept(state) === kept(namespace.writeProtection)) saved(true);
  else hooks.saveProtection(namespace, kept(state), saved);
}

/** Until power cycle cannot be taken back, and what the operator has made read-only hosts cannot make writable. */
export const namespaceWriteProtection: Feature = {
  effects: { fsupp: 1, fsp: Scope.Namespace, ncc: 1 },
  namespaceSpecific: true,
  check(_controller, dw11, setting, namespaces) {
    if (!setting) return 0;
    const state = dw11 & 7;
    if (state > WriteProtection.UntilPowerCycle) return Status.InvalidField | DNR;
    return refusal(namespaces, state);
  },
  initial: () => WriteProtection.None,
  current(_controller, _dw11, namespace) {
    if (namespace === null) return WriteProtection.None;
    return namespace.writeProtection || (namespace.readOnly ? WriteProtection.Protected : WriteProtection.None);
  },
  setLater(controller, dw11, namespaces, done) {
    const state = dw11 & 7;
    controller.subsystem!.protections.push((next) => {
      setProtection(controller, namespaces, state, (status) => {
        if (status !== 0 || state === WriteProtection.None) done(status);
        else flushed(controller, () => done(0));
        next();
      });
    });
  },
};
