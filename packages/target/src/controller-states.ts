import { StateTable } from '@nvbraid/base';

/**
 * disabled: CC.EN is 0 and CSTS.RDY is 0.
 * ready: both are 1.
 * disabling: CC.EN has been cleared, CSTS.RDY falls when the last I/O queue is closed.
 * shutdown-processing, shutdown-complete: CSTS.SHST after a CC.SHN.
 * fatal: CSTS.CFS, after a CC.EN with values that the controller does not support.
 * gone: the association is over; nothing leads out of it.
 */
export type ControllerState =
  | 'disabled'
  | 'ready'
  | 'disabling'
  | 'shutdown-processing'
  | 'shutdown-complete'
  | 'fatal'
  | 'gone';

export type ControllerEvent = 'enable' | 'refuse' | 'disable' | 'queuesClosed' | 'shutdown' | 'flushed' | 'remove';

export const CONTROLLER_STATES = new StateTable<ControllerState, ControllerEvent>('controller', 'disabled', {
  enable: { disabled: 'ready', 'shutdown-complete': 'ready' },
  refuse: { disabled: 'fatal', 'shutdown-complete': 'fatal' },
  disable: {
    ready: 'disabling',
    'shutdown-processing': 'disabling',
    'shutdown-complete': 'disabling',
    fatal: 'disabling',
  },
  queuesClosed: { disabling: 'disabled' },
  shutdown: { disabled: 'shutdown-processing', ready: 'shutdown-processing', fatal: 'shutdown-processing' },
  flushed: { 'shutdown-processing': 'shutdown-complete' },
  remove: {
    disabled: 'gone',
    ready: 'gone',
    disabling: 'gone',
    'shutdown-processing': 'gone',
    'shutdown-complete': 'gone',
    fatal: 'gone',
  },
});
