import { CQE_STATUS_OFFSET, Cqe } from './cqe.ts';
import { statusName, statusParts } from './status.ts';

/**
 * One line, e.g. `cid=5 LBA Out of Range dnr sqhd=6`. The caller has checked that 16 bytes are there.
 * @param fabrics true when the command was a fabrics command: some status values mean something else there
 */
export function describeCqe(view: DataView, base: number, fabrics: boolean): string {
  const status = view.getUint16(base + CQE_STATUS_OFFSET, true) >>> 1;
  const { dnr, more, crd } = statusParts(status);
  const parts = [`cid=${Cqe.cid.get(view, base)}`, statusName(status, fabrics)];
  if (dnr) parts.push('dnr');
  if (more) parts.push('more');
  if (crd !== 0) parts.push(`crd=${crd}`);
  parts.push(`sqhd=${Cqe.sqhd.get(view, base)}`);
  for (const key of ['sqid', 'dw0', 'dw1'] as const) {
    const value = Cqe[key].get(view, base);
    if (value !== 0) parts.push(`${key}=${Cqe[key].format(value)}`);
  }
  return parts.join(' ');
}
