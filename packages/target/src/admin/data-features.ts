import { DNR, HostBehaviorSupportFeature, Scope, Status, TimestampFeature } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import type { Feature } from '../controller-kind.ts';
import { COPY_FORMATS } from './identify-controller.ts';

const CONTROLLER_SCOPE = { fsupp: 1, fsp: Scope.Controller };
/** Timestamp origin: counts from the last reset, or from what a host has set. */
const Origin = { Reset: 0, Set: 1 } as const;

/** Milliseconds by the clock that the target was given; a reset of the controller forgets what was set. */
export const timestamp: Feature = {
  effects: CONTROLLER_SCOPE,
  inputBytes: TimestampFeature.size,
  data(controller, current) {
    if (!current) return TimestampFeature.toBytes({});
    const { timestampMs, timestampAtMs } = controller.features;
    const passedMs = Math.floor(controller.target.nowMs() - timestampAtMs);
    return TimestampFeature.toBytes({
      timestampMs: ((timestampMs ?? 0) + passedMs) % 2 ** 48,
      origin: timestampMs === null ? Origin.Reset : Origin.Set,
    });
  },
  initial: () => 0,
  current: () => 0,
  take(controller, view, base) {
    controller.features.timestampMs = TimestampFeature.timestampMs.get(view, base);
    controller.features.timestampAtMs = controller.target.nowMs();
    return 0;
  },
};

/** Copy descriptor formats that need no word of the host. */
const PLAIN_FORMATS = 0x03;

/**
 * What the host says it can do. Nothing here depends on the flags: there are no retry delays, no telemetry, no extended
 * formats and no dispersed namespaces. Of copy formats only those can be enabled that there are.
 */
export const hostBehaviorSupport: Feature = {
  effects: CONTROLLER_SCOPE,
  inputBytes: HostBehaviorSupportFeature.size,
  data: (controller, current) => (current ? controller.features.hostBehavior.slice() : new Uint8Array(512)),
  initial: () => 0,
  current: () => 0,
  take(controller, view, base) {
    const { acre, etdas, lbafee, hdisns, cdfe } = HostBehaviorSupportFeature.parse(view, base);
    if (acre > 1 || etdas > 1 || lbafee > 1 || hdisns > 1) return Status.InvalidField | DNR;
    if ((cdfe & ~(COPY_FORMATS & ~PLAIN_FORMATS)) !== 0) return Status.InvalidField | DNR;
    controller.features.hostBehavior = HostBehaviorSupportFeature.toBytes({ acre, etdas, lbafee, hdisns, cdfe });
    return 0;
  },
};

/** Fid 19h: CNS 1Ch lists one combination of command sets, which is the one in use. */
export const ioCommandSetProfile: Feature = {
  effects: CONTROLLER_SCOPE,
  initial: () => 0,
  current: () => 0,
  set: (_controller: Controller, dw11: number) =>
    (dw11 & 0x1ff) === 0 ? 0 : Status.IoCommandSetCombinationRejected | DNR,
  answersSet: true,
};
