import { layout, type ValueOf } from '../layout.ts';
import { sqeHead } from './sqe.ts';

/** Keep Alive (Base 2.1, 5.1.14): no fields, no data. */
export const KeepAliveSqe = layout('KeepAlive', 64, sqeHead);
export type KeepAliveSqe = ValueOf<typeof KeepAliveSqe>;
