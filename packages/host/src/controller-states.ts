import { StateTable } from '@nvbraid/base';

/**
 * As in Linux. connecting: on the way to live, also between attempts; resetting: what was under way is being ended;
 * deleting: going on purpose, commands under way may end; deleting-noio: being shut down, no command runs any more;
 * dead: will not come back.
 */
export type HostControllerState = 'new' | 'connecting' | 'live' | 'resetting' | 'deleting' | 'deleting-noio' | 'dead';
export type HostControllerEvent =
  | 'start'
  | 'established'
  | 'failed'
  | 'reconnect'
  | 'giveUp'
  | 'remove'
  | 'drained'
  | 'removed';

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
    drained: { deleting: 'deleting-noio' },
    removed: { deleting: 'dead', 'deleting-noio': 'dead' },
  },
);
