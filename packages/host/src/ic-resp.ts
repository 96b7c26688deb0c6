import { NvbraidError } from '@nvbraid/base';
import { ICResp } from '@nvbraid/wire';
import { MAXH2CDATA_MIN, PDA_MAX } from './limits.ts';
import type { PduForm } from './pdu-output.ts';

/* What a host looks for in an ICResp (NVMe-TCP 3.6.2.2). */

/** The first field with a value that no ICResp may have, or null. */
export function wrongIcRespField(view: DataView, base: number): { readonly offset: number } | null {
  if (ICResp.pfv.get(view, base) !== 0) return ICResp.pfv;
  if (ICResp.cpda.get(view, base) > PDA_MAX) return ICResp.cpda;
  const maxH2CData = ICResp.maxh2cdata.get(view, base);
  return maxH2CData < MAXH2CDATA_MIN || maxH2CData % 4 !== 0 ? ICResp.maxh2cdata : null;
}

/** Who asked for digests wants the protection, and digests that nobody asked for are not allowed. */
export function digestsNotAgreed(view: DataView, base: number, asked: PduForm, qid: number): NvbraidError | null {
  const hdgst = ICResp.hdgst.get(view, base) === 1;
  const ddgst = ICResp.ddgst.get(view, base) === 1;
  if (hdgst === asked.hdgst && ddgst === asked.ddgst) return null;
  const which = hdgst !== asked.hdgst ? 'header' : 'data';
  const message = `queue ${qid}: the controller does not agree to ${which} digest ${hdgst || ddgst ? 'off' : 'on'}`;
  return new NvbraidError('EPROTO', message, { retryable: false });
}
