/*
 * The answer of sock_diag(7) about one TCP socket: struct nlmsghdr (16 bytes: length u32 | type u16 | …), struct
 * inet_diag_msg (72 bytes), then attributes (length u16 | type u16 | value, padded to 4 bytes), of which
 * INET_DIAG_ULP_INFO holds INET_ULP_INFO_MPTCP, which holds MPTCP_SUBFLOW_ATTR_FLAGS.
 */

export const SOCK_DIAG_BY_FAMILY = 20;
export const NLMSG_HEADER_BYTES = 16;
const INET_DIAG_MSG_BYTES = 72;
const ATTRIBUTE_HEADER_BYTES = 4;
const TYPE_MASK = 0x3fff;
const INET_DIAG_ULP_INFO = 19;
const INET_ULP_INFO_MPTCP = 3;
const MPTCP_SUBFLOW_ATTR_FLAGS = 8;
/** The peer, or this end, wants it used only while no other works. */
const FLAG_BACKUP_REMOTE = 1 << 4;
const FLAG_BACKUP_LOCAL = 1 << 5;

/** Whether the subflow is a backup; null when the answer does not say. */
export function parseBackup(view: DataView, length: number): boolean | null {
  const end = Math.min(length, view.byteLength);
  if (end < NLMSG_HEADER_BYTES + INET_DIAG_MSG_BYTES) return null;
  if (view.getUint16(4, true) !== SOCK_DIAG_BY_FAMILY) return null;
  const message = { start: NLMSG_HEADER_BYTES + INET_DIAG_MSG_BYTES, end: Math.min(end, view.getUint32(0, true)) };
  const ulp = attribute(view, message, INET_DIAG_ULP_INFO);
  const mptcp = ulp === null ? null : attribute(view, ulp, INET_ULP_INFO_MPTCP);
  const flags = mptcp === null ? null : attribute(view, mptcp, MPTCP_SUBFLOW_ATTR_FLAGS);
  if (flags === null || flags.end - flags.start < 4) return null;
  return (view.getUint32(flags.start, true) & (FLAG_BACKUP_REMOTE | FLAG_BACKUP_LOCAL)) !== 0;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** The value of the first attribute of a type. */
function attribute(view: DataView, { start, end }: Range, type: number): Range | null {
  for (let at = start; at + ATTRIBUTE_HEADER_BYTES <= end; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > end) return null;
    if ((view.getUint16(at + 2, true) & TYPE_MASK) === type) {
      return { start: at + ATTRIBUTE_HEADER_BYTES, end: at + length };
    }
    at += (length + 3) & ~3;
  }
  return null;
}
