import { ERROR_LOG_ENTRY_SIZE, ErrorLogEntry } from '@nvbraid/wire';
import { ERROR_LOG_ENTRIES } from './limits.ts';

/** Parameter error location that names nothing (Base 2.1, 5.1.12.1.2). */
export const NO_LOCATION = 0xffff;

export interface CommandError {
  readonly qid: number;
  readonly cid: number;
  readonly status: number;
  readonly opcode: number;
  readonly nsid: number;
  readonly lba?: number;
  /** Byte of the command (bits 7:0) and bit in it (bits 10:8), or NO_LOCATION. */
  readonly location?: number;
}

/** The last errors of one controller, newest first, and how many there ever were. */
export class ErrorLog {
  readonly #trtype: number;
  readonly #entries: ErrorLogEntry[] = [];
  #count = 0;

  constructor(trtype: number) {
    this.#trtype = trtype;
  }

  get count(): number {
    return this.#count;
  }

  record(error: CommandError): void {
    const location = error.location ?? NO_LOCATION;
    this.#count++;
    this.#entries.unshift({
      ecnt: this.#count,
      sqid: error.qid,
      cid: error.cid,
      status: (error.status << 1) & 0xffff,
      pelByte: location & 0xff,
      pelBit: (location >> 8) & 7,
      lba: error.lba ?? 0,
      nsid: error.nsid,
      vsia: 0,
      trtype: this.#trtype,
      csi: 0,
      opc: error.opcode,
      csinfo: 0,
      ttsi: 0,
      lpver: 1,
    });
    if (this.#entries.length > ERROR_LOG_ENTRIES) this.#entries.pop();
  }

  /** The log page: all its entries, those that were never used being zero. */
  page(): Uint8Array {
    const page = new Uint8Array(ERROR_LOG_ENTRIES * ERROR_LOG_ENTRY_SIZE);
    const view = new DataView(page.buffer);
    this.#entries.forEach((entry, i) => {
      ErrorLogEntry.emit(view, i * ERROR_LOG_ENTRY_SIZE, entry);
    });
    return page;
  }
}
