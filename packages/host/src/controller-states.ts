import { StateTable } from '@nvbraid/base';

/**
 * As in Linux. connecting: on the way to live, also between attempts; resetting: what was under way is being ended;
 * deleting: being shut down on purpose; dead: will not come back.
 */
export type HostControllerState = 'new' | 'connecting' | 'live' | 'resetting' | 'deleting' | 'dead';
export type HostControllerEvent = 'start' | 'established' | 'failed' | 'reconnect' | 'giveUp' | 'remove' | 'removed';

export const HOST_CONTROLLER_STATES = new StateTable<HostControllerState, HostControllerEvent>(
  'HostController',
  'new',
  {
    start: { new: 'connecting' },
    established: { connecting: 'live' },
    failed: { live: 'resetting' },
    reconnect: { resetting: 'connecting' },
    giveUp: { connecting: 'dead' },
    remove: { new: 'deleting', connecting: 'deleting', live: 'deleting', resetting: 'deleting' },
    removed: { deleting: 'dead' },
  },
);
