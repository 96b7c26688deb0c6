import type { Memory } from '@nvbraid/base';
import {
  NBD_EXPORT_NAME_ZEROES,
  NBD_OPTION_REPLY_MAGIC,
  NbdContextId,
  NbdExportNameReply,
  NbdInfo,
  NbdInfoBlockSize,
  NbdInfoExport,
  NbdOption,
  NbdOptionReply,
  NbdReply,
} from '@nvbraid/wire';
import { MAX_NAME_BYTES, MAX_OPTIONS, MAX_PAYLOAD_BYTES, PREFERRED_BYTES } from './limits.ts';
import { exportFlags, type NbdExport, type NbdExports } from './nbd-export.ts';

/** What a client has agreed with the server. */
export interface Agreement {
  export: NbdExport;
  structured: boolean;
  /** base:allocation may be asked for. */
  allocation: boolean;
}

/** What follows an option. */
export type Step =
  /** The next option. */
  | 'option'
  /** Requests, of the export agreed on. */
  | 'transmission'
  /** The connection is closed once the answer is sent. */
  | 'close';

const ALLOCATION_CONTEXT = 'base:allocation';
export const ALLOCATION_ID = 1;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * The options that a client haggles about before it sends requests (NBD, "Option haggling"). Answers are byte arrays:
 * nothing here is in a hurry.
 */
export class NbdNegotiation {
  readonly #exports: NbdExports;
  readonly #answers: Uint8Array[];
  /** Both sides leave out the zeroes behind the answer to NBD_OPT_EXPORT_NAME. */
  noZeroes = false;
  #structured = false;
  /** The export for which base:allocation was chosen; null when for none. */
  #allocationFor: string | null = null;
  #options = 0;
  agreement: Agreement | null = null;

  /** @param answers where answers are put, in order */
  constructor(exports: NbdExports, answers: Uint8Array[]) {
    this.#exports = exports;
    this.#answers = answers;
  }

  /** An option whose data lies at `offset` of `data`. */
  take(option: number, data: Memory, offset: number, length: number): Step {
    if (++this.#options > MAX_OPTIONS) return 'close';
    const bytes = data.bytes.slice(offset, offset + length);
    switch (option) {
      case NbdOption.ExportName:
        return this.#exportName(bytes);
      case NbdOption.Abort:
        this.#reply(option, NbdReply.Ack);
        return 'close';
      case NbdOption.List:
        return this.#list(bytes);
      case NbdOption.Info:
      case NbdOption.Go:
        return this.#info(option, bytes);
      case NbdOption.StructuredReply:
        if (bytes.length > 0) return this.#refuse(option, NbdReply.ErrInvalid, 'this option has no data');
        this.#structured = true;
        this.#reply(option, NbdReply.Ack);
        return 'option';
      case NbdOption.ListMetaContext:
      case NbdOption.SetMetaContext:
        return this.#metaContext(option, bytes);
      case NbdOption.StartTls:
        return this.#refuse(option, NbdReply.ErrPolicy, 'this server has no TLS: use a unix socket or a tunnel');
      default:
        return this.#refuse(option, NbdReply.ErrUnsup, 'unknown option');
    }
  }

  /** An option whose data was too long and has been thrown away. */
  tooBig(option: number): Step {
    if (++this.#options > MAX_OPTIONS || option === NbdOption.ExportName) return 'close';
    return this.#refuse(option, NbdReply.ErrTooBig, 'the data of the option is too long');
  }

  // ---------------------------------------------------------------- options

  /** The old way to choose: there is no way to refuse but to close. */
  #exportName(name: Uint8Array): Step {
    const found = this.#exports.find(decoder.decode(name));
    if (found === undefined) return 'close';
    const answer = new Uint8Array(NbdExportNameReply.size + (this.noZeroes ? 0 : NBD_EXPORT_NAME_ZEROES));
    NbdExportNameReply.emit(new DataView(answer.buffer), 0, {
      exportSize: bytesOf(found),
      flags: exportFlags(found),
    });
    this.#answers.push(answer);
    return this.#agree(found);
  }

  #list(data: Uint8Array): Step {
    if (data.length > 0) return this.#refuse(NbdOption.List, NbdReply.ErrInvalid, 'this option has no data');
    for (const one of this.#exports.list()) {
      const name = encoder.encode(one.name);
      const details = encoder.encode(one.description ?? '');
      const body = new Uint8Array(4 + name.length + details.length);
      new DataView(body.buffer).setUint32(0, name.length);
      body.set(name, 4);
      body.set(details, 4 + name.length);
      this.#reply(NbdOption.List, NbdReply.Server, body);
    }
    this.#reply(NbdOption.List, NbdReply.Ack);
    return 'option';
  }

  #info(option: number, data: Uint8Array): Step {
    const reader = new Reader(data);
    const name = reader.text(reader.u32());
    const wanted = new Set<number>();
    for (let count = reader.u16(); count > 0 && !reader.failed; count--) wanted.add(reader.u16());
    if (!reader.ended) return this.#refuse(option, NbdReply.ErrInvalid, 'the data of the option is malformed');
    const found = this.#exports.find(name);
    if (found === undefined) return this.#refuse(option, NbdReply.ErrUnknown, `there is no export '${name}'`);
    const { device } = found;
    this.#reply(
      option,
      NbdReply.Info,
      NbdInfoExport.toBytes({ type: NbdInfo.Export, exportSize: bytesOf(found), flags: exportFlags(found) }),
    );
    if (wanted.has(NbdInfo.Name)) this.#infoText(option, NbdInfo.Name, found.name);
    if (wanted.has(NbdInfo.Description) && found.description !== undefined) {
      this.#infoText(option, NbdInfo.Description, found.description);
    }
    this.#reply(
      option,
      NbdReply.Info,
      NbdInfoBlockSize.toBytes({
        type: NbdInfo.BlockSize,
        minimum: device.blockSize,
        preferred: Math.max(device.blockSize, PREFERRED_BYTES),
        maximum: MAX_PAYLOAD_BYTES,
      }),
    );
    this.#reply(option, NbdReply.Ack);
    return option === NbdOption.Go ? this.#agree(found) : 'option';
  }

  #infoText(option: number, type: number, text: string): void {
    const bytes = encoder.encode(text).slice(0, MAX_NAME_BYTES);
    const body = new Uint8Array(2 + bytes.length);
    new DataView(body.buffer).setUint16(0, type);
    body.set(bytes, 2);
    this.#reply(option, NbdReply.Info, body);
  }

  #metaContext(option: number, data: Uint8Array): Step {
    const setting = option === NbdOption.SetMetaContext;
    if (setting) this.#allocationFor = null;
    if (!this.#structured) return this.#refuse(option, NbdReply.ErrInvalid, 'ask for structured replies first');
    const reader = new Reader(data);
    const name = reader.text(reader.u32());
    const queries: string[] = [];
    for (let count = reader.u32(); count > 0 && !reader.failed; count--) queries.push(reader.text(reader.u32()));
    if (!reader.ended) return this.#refuse(option, NbdReply.ErrInvalid, 'the data of the option is malformed');
    const found = this.#exports.find(name);
    if (found === undefined) return this.#refuse(option, NbdReply.ErrUnknown, `there is no export '${name}'`);
    // A listing without queries asks for everything; a namespace alone for all that is in it.
    const known = queries.some((query) => query === ALLOCATION_CONTEXT || (!setting && query === 'base:'));
    if (known || (!setting && queries.length === 0)) {
      if (setting) this.#allocationFor = found.name;
      const context = encoder.encode(ALLOCATION_CONTEXT);
      const body = new Uint8Array(NbdContextId.size + context.length);
      // The number means nothing in a listing.
      NbdContextId.emit(new DataView(body.buffer), 0, { contextId: setting ? ALLOCATION_ID : 0 });
      body.set(context, NbdContextId.size);
      this.#reply(option, NbdReply.MetaContext, body);
    }
    this.#reply(option, NbdReply.Ack);
    return 'option';
  }

  #agree(found: NbdExport): Step {
    this.agreement = {
      export: found,
      structured: this.#structured,
      allocation: this.#allocationFor === found.name,
    };
    return 'transmission';
  }

  // ---------------------------------------------------------------- answers

  #refuse(option: number, type: number, message: string): Step {
    this.#reply(option, type, encoder.encode(message));
    return 'option';
  }

  #reply(option: number, type: number, body: Uint8Array = NOTHING): void {
    const bytes = new Uint8Array(NbdOptionReply.size + body.length);
    NbdOptionReply.emit(new DataView(bytes.buffer), 0, {
      magicHigh: NBD_OPTION_REPLY_MAGIC[0],
      magicLow: NBD_OPTION_REPLY_MAGIC[1],
      option,
      type,
      length: body.length,
    });
    bytes.set(body, NbdOptionReply.size);
    this.#answers.push(bytes);
  }
}

const NOTHING = new Uint8Array(0);

function bytesOf({ device }: NbdExport): number {
  return device.blockCount * device.blockSize;
}

/** Takes the data of an option apart; what is not there reads as zero and is remembered. */
class Reader {
  failed = false;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Everything was taken, and nothing beyond. */
  get ended(): boolean {
    return !this.failed && this.#at === this.#bytes.length;
  }

  u16(): number {
    return this.#take(2) ? this.#view.getUint16(this.#at - 2) : 0;
  }

  u32(): number {
    return this.#take(4) ? this.#view.getUint32(this.#at - 4) : 0;
  }

  text(length: number): string {
    return this.#take(length) ? decoder.decode(this.#bytes.subarray(this.#at - length, this.#at)) : '';
  }

  #take(length: number): boolean {
    if (this.failed || this.#at + length > this.#bytes.length) {
      this.failed = true;
      return false;
    }
    this.#at += length;
    return true;
  }
}
