import { bits, layout, type ValueOf } from '../../layout.ts';

/** I/O Command Set Vector (CNS 1Ch; Base 2.1, 5.1.13.2.19): a combination of command sets that may be used together. */
export const IoCommandSetVector = layout('IoCommandSetVector', 8, {
  nvm: bits(0, 0, 1),
  kv: bits(0, 1, 1),
  zns: bits(0, 2, 1),
  slm: bits(0, 3, 1),
  cp: bits(0, 4, 1),
});
export type IoCommandSetVector = ValueOf<typeof IoCommandSetVector>;
/** Vectors of the page; the first that is all zero ends them. */
export const IO_COMMAND_SET_VECTORS = 512;
