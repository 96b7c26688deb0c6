import { StateTable } from '@nvbraid/base';

/**
 * A queue's connection. new: not connected; handshake: ICReq sent or about to be; ready: takes commands; closing: has
 * something left to say, then the connection is to be closed; closed: gone.
 */
export type HostQueueState = 'new' | 'handshake' | 'ready' | 'closing' | 'closed';
export type HostQueueEvent = 'start' | 'icResp' | 'terminate' | 'gone';

export const HOST_QUEUE_STATES = new StateTable<HostQueueState, HostQueueEvent>('HostQueue', 'new', {
  start: { new: 'handshake' },
  icResp: { handshake: 'ready' },
  terminate: { new: 'closed', handshake: 'closing', ready: 'closing' },
  gone: { new: 'closed', handshake: 'closed', ready: 'closed', closing: 'closed' },
});
