import { Socket, type SocketConstructorOpts } from 'node:net';
import { NetReceiver } from './net-connection.ts';

/**
 * Only a socket that we construct can be given a buffer to read into, and a server constructs its own. Where Node lets
 * us, the accepted socket's handle moves into a socket of ours; elsewhere the accepted one is used as it is, with one
 * copy more per read.
 */
export function acceptedSocket(accepted: Socket): { socket: Socket; receiver: NetReceiver | null } {
  const holder = accepted as unknown as { _handle?: { useUserBuffer?: unknown } | null };
  const handle = holder._handle;
  if (typeof handle?.useUserBuffer !== 'function') return { socket: accepted, receiver: null };
  const receiver = new NetReceiver();
  const options = { handle, allowHalfOpen: true, pauseOnCreate: true, onread: receiver.options };
  holder._handle = null;
  const socket = new Socket(options as unknown as SocketConstructorOpts);
  accepted.destroy(); // an empty shell now; its server stops counting it
  return { socket, receiver };
}
