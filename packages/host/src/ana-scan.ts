import { type AnaLog, anaLogSize, Cmic, type IdentifyController, Lid, parseAnaLog, statusName } from '@nvbraid/wire';
import type { AdminChannel } from './admin-channel.ts';
import { getLogPageRequest } from './admin-commands.ts';
import { NAMESPACES_MAX } from './limits.ts';
import type { Steps } from './task.ts';

/** True when the controller reports Asymmetric Namespace Access states. */
export function reportsAna(identify: IdentifyController): boolean {
  return (identify.cmic & Cmic.Ana) !== 0;
}

/**
 * Reads the ANA log page whole, which lets the controller tell of the next change. Null when it cannot be used, after a
 * sentence that says why.
 */
export function* readAnaLog(
  admin: AdminChannel,
  identify: IdentifyController,
  most: number,
  log: (why: string) => void,
): Steps<AnaLog | null> {
  // A namespace is in one group. MNAN is 0 when there may be NN of them (Base 2.1, 5.1.13.2.1).
  const { mnan, nn, nanagrpid, anagrpmax } = identify;
  if (mnan > nn) {
    log(`ANA is not used: MNAN ${mnan} is greater than NN ${nn}`);
    return null;
  }
  const length = anaLogSize(nanagrpid, Math.min(mnan || nn, NAMESPACES_MAX)) & ~3;
  if (length > most) {
    log(`ANA is not used: its log of ${length} bytes does not fit into a command of ${most}`);
    return null;
  }
  const what = 'Get Log Page (Asymmetric Namespace Access)';
  const request = yield* admin.run(getLogPageRequest(Lid.Ana, length), what);
  if (request.status !== 0) {
    log(`the ANA log cannot be read: ${statusName(request.status)}`);
    return null;
  }
  const parsed = parseAnaLog(request.memory.bytes, anagrpmax || undefined);
  if (parsed.ok) return parsed.value;
  log(`the ANA log makes no sense: ${parsed.reason}`);
  return null;
}
