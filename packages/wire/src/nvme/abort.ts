import { bits, layout, u16, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Abort (Base 2.1, 5.1.1): names a command by the identifier of its queue and its own. */
export const AbortSqe = layout('Abort', 64, { ...sqeHead, sqid: u16(40), abortCid: u16(42) });
export type AbortSqe = ValueOf<typeof AbortSqe>;

/** Dword 0 of its completion: `ianp` is 1 when the command was not aborted. */
export const AbortResult = layout('AbortResult', 4, { ianp: bits(0, 0, 1, 4) });
export type AbortResult = ValueOf<typeof AbortResult>;
