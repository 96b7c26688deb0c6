import { type AnaLog, anaLogSize, Cmic, type IdentifyController, Lid, parseAnaLog } from '@nvbraid/wire';
import type { AdminChannel } from './admin-channel.ts';
import { getLogPageRequest } from './admin-commands.ts';
import { NAMESPACES_MAX } from './limits.ts';
import type { Steps } from './task.ts';

/** True when the controller reports Asymmetric Namespace Access states. */
export function reportsAna(identify: IdentifyController): boolean {
  return (identify.cmic & Cmic.Ana) !== 0;
}

/**
 * Reads the ANA log page whole, which lets the controller tell of the next change. Null when it is refused, makes no
 * sense, or does not fit into one command.
 */
export function* readAnaLog(admin: AdminChannel, identify: IdentifyController, most: number): Steps<AnaLog | null> {
  // A namespace is in one group. MNAN is 0 when there may be NN of them (Base 2.1, 5.1.13.2.1).
  const namespaces = Math.min(identify.mnan || identify.nn, NAMESPACES_MAX);
  const length = Math.min(anaLogSize(identify.nanagrpid, namespaces), most);
  const what = 'Get Log Page (Asymmetric Namespace Access)';
  const request = yield* admin.run(getLogPageRequest(Lid.Ana, length & ~3), what);
  if (request.status !== 0) return null;
  const log = parseAnaLog(request.memory.bytes, identify.anagrpmax || undefined);
  return log.ok ? log.value : null;
}
