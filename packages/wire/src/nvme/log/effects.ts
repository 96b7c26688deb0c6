import { bits, layout, type ValueOf } from '../../layout.ts';

/** Commands Supported and Effects data structure (Base 2.1, 5.1.12.1.6), one per opcode. */
export const CommandEffects = layout('CommandEffects', 4, {
  /** The command is supported. */
  csupp: bits(0, 0, 1, 4),
  /** It may change logical block content, namespace capability, namespace inventory, controller capability. */
  lbcc: bits(0, 1, 1, 4),
  ncc: bits(0, 2, 1, 4),
  nic: bits(0, 3, 1, 4),
  ccc: bits(0, 4, 1, 4),
  /** Submission and execution relaxations. */
  cser: bits(0, 14, 2, 4),
  /** Command submission and execution: 1 = alone on its namespace, 2 = alone on any namespace. */
  cse: bits(0, 16, 3, 4),
  /** UUID selection supported. */
  uss: bits(0, 19, 1, 4),
  /** Command scope. */
  csp: bits(0, 20, 12, 4),
});
export type CommandEffects = ValueOf<typeof CommandEffects>;

/** Bytes of the Commands Supported and Effects log page (LID 05h): 256 admin and 256 I/O opcodes, then reserved. */
export const EFFECTS_LOG_SIZE = 4096;
const IO_OFFSET = 1024;

/** Effects by opcode. Opcodes that are missing are not supported. */
export interface EffectsLog {
  readonly admin: ReadonlyMap<number, Partial<CommandEffects>>;
  readonly io: ReadonlyMap<number, Partial<CommandEffects>>;
}

export function effectsLog(log: EffectsLog): Uint8Array {
  const page = new Uint8Array(EFFECTS_LOG_SIZE);
  const view = new DataView(page.buffer);
  for (const [opcode, effects] of log.admin) CommandEffects.emit(view, 4 * (opcode & 0xff), effects);
  for (const [opcode, effects] of log.io) CommandEffects.emit(view, IO_OFFSET + 4 * (opcode & 0xff), effects);
  return page;
}

/** The opcodes whose csupp bit is set, as far as `page` reaches. */
export function parseEffectsLog(page: Uint8Array): EffectsLog {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const read = (from: number): Map<number, CommandEffects> => {
    const map = new Map<number, CommandEffects>();
    for (let opcode = 0; opcode < 256 && from + 4 * opcode + 4 <= page.length; opcode++) {
      const at = from + 4 * opcode;
      if (CommandEffects.csupp.get(view, at) === 1) map.set(opcode, CommandEffects.parse(view, at));
    }
    return map;
  };
  return { admin: read(0), io: read(IO_OFFSET) };
}
