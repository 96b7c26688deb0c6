import { type ControlClient, isObject, type Params } from '@nvbraid/manage';
import type { ReservationStatus } from '@nvbraid/wire';
import {
  type BlockRange,
  type DatasetAttributes,
  NvbraidError,
  type ResvAcquire,
  type ResvRegister,
  type ResvRelease,
} from 'nvbraid';
import type { LogFields, Session, SessionNamespace } from './session.ts';
import type { ConnectStatus, ProcessStatus } from './status.ts';
import { remoteZonedSession, type ZonedSession } from './zoned-session.ts';

/** A session by the control socket of a running `nvbraid connect`. */
export class ProcessSession implements Session {
  readonly where: string;
  readonly zoned: ZonedSession;
  readonly #client: ControlClient;
  readonly #status: ConnectStatus;

  constructor(client: ControlClient, status: ConnectStatus) {
    this.where = `${status.address.nqn} (connected by process ${status.pid})`;
    this.zoned = remoteZonedSession(
      (method, params) => client.call(method, params),
      (method, params, length) => this.#data(method, params, length),
    );
    this.#client = client;
    this.#status = status;
  }

  get namespaces(): readonly SessionNamespace[] {
    return this.#status.namespaces;
  }

  identifyController(device?: string): Promise<Uint8Array> {
    return this.#data('identify', { cns: 1, nsid: 0, ...of(device) }, 4096);
  }

  logPage(lid: number, bytes: number, fields: LogFields, device?: string): Promise<Uint8Array> {
    return this.#data('log-page', { lid, bytes, ...fields, ...of(device) }, bytes);
  }

  async property(offset: number, wide: boolean, device?: string): Promise<bigint> {
    const result = await this.#client.call('property', { offset, wide, ...of(device) });
    const value = isObject(result) ? result.value : null;
    if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value)) return BigInt(value);
    throw new NvbraidError('EPROTO', `property: process ${this.#status.pid} answered with something else`);
  }

  identifyNamespace(nsid: number): Promise<Uint8Array> {
    return this.#data('identify', { cns: 0, nsid }, 4096);
  }

  async read(nsid: number, slba: number, buffer: Uint8Array): Promise<void> {
    buffer.set(await this.#data('read', { nsid, slba, bytes: buffer.length }, buffer.length));
  }

  async write(nsid: number, slba: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    await this.#client.call('write', { nsid, slba, fua, data: Buffer.from(buffer).toString('base64') });
  }

  async flush(nsid: number): Promise<void> {
    await this.#client.call('flush', { nsid });
  }

  async compare(nsid: number, slba: number, buffer: Uint8Array): Promise<boolean> {
    const data = Buffer.from(buffer).toString('base64');
    const result = await this.#client.call('compare', { nsid, slba, data });
    return isObject(result) && result.equal === true;
  }

  async verify(nsid: number, slba: number, blocks: number): Promise<void> {
    await this.#client.call('verify', { nsid, slba, blocks });
  }

  async writeUncorrectable(nsid: number, slba: number, blocks: number): Promise<void> {
    await this.#client.call('write-uncor', { nsid, slba, blocks });
  }

  async writeZeroes(nsid: number, slba: number, blocks: number, deallocate: boolean, fua: boolean): Promise<void> {
    await this.#client.call('write-zeroes', { nsid, slba, blocks, deallocate, fua });
  }

  async datasetManagement(nsid: number, ranges: readonly BlockRange[], attributes: DatasetAttributes): Promise<void> {
    await this.#client.call('dsm', { nsid, ranges: rangeParams(ranges), ...attributes });
  }

  async copy(nsid: number, ranges: readonly BlockRange[], sdlba: number, fua: boolean): Promise<void> {
    await this.#client.call('copy', { nsid, ranges: rangeParams(ranges), sdlba, fua });
  }

  async resvRegister(nsid: number, command: ResvRegister): Promise<void> {
    await this.#client.call('resv-register', { nsid, ...hexKeys(command) });
  }

  async resvAcquire(nsid: number, command: ResvAcquire): Promise<void> {
    await this.#client.call('resv-acquire', { nsid, ...hexKeys(command) });
  }

  async resvRelease(nsid: number, command: ResvRelease): Promise<void> {
    await this.#client.call('resv-release', { nsid, ...hexKeys(command) });
  }

  async resvReport(nsid: number, extended: boolean): Promise<ReservationStatus> {
    const result = await this.#client.call('resv-report', { nsid, eds: extended });
    const { gen, rtype, ptpls, regctl, registrants } = (isObject(result) ? result : {}) as Record<string, unknown>;
    const whole = [gen, rtype, ptpls, regctl].every((value) => Number.isInteger(value));
    if (whole && Array.isArray(registrants) && registrants.every(isRegistrant)) {
      const list = registrants.map(({ rkey, ...rest }) => ({ ...rest, rkey: BigInt(rkey) }));
      return { gen, rtype, ptpls, regctl, registrants: list } as ReservationStatus;
    }
    throw new NvbraidError('EPROTO', `resv-report: process ${this.#status.pid} answered with something else`);
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #data(method: string, params: Params, length: number): Promise<Uint8Array> {
    const result = await this.#client.call(method, params);
    const data = isObject(result) && typeof result.data === 'string' ? Buffer.from(result.data, 'base64') : null;
    if (data?.length === length) return data;
    throw new NvbraidError('EPROTO', `${method}: process ${this.#status.pid} answered with the wrong amount of data`);
  }
}

function of(device: string | undefined): Params {
  return device === undefined ? {} : { controller: device };
}

function rangeParams(ranges: readonly BlockRange[]): { slba: number; blocks: number }[] {
  return ranges.map(({ slba, blocks }) => ({ slba, blocks }));
}

/** JSON has no bigint: keys travel in hexadecimal. */
function hexKeys(command: object): Params {
  return Object.fromEntries(
    Object.entries(command).map(([name, value]) => [
      name,
      typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
    ]),
  );
}

interface SentRegistrant {
  readonly cntlid: number;
  readonly holder: boolean;
  readonly rkey: string;
  readonly hostid: string;
}

function isRegistrant(value: unknown): value is SentRegistrant {
  if (!isObject(value)) return false;
  const { cntlid, holder, rkey, hostid } = value;
  const key = typeof rkey === 'string' && /^0x[0-9a-f]{1,16}$/.test(rkey);
  return Number.isInteger(cntlid) && typeof holder === 'boolean' && key && typeof hostid === 'string';
}

/** Asks a process what it is. @throws NvbraidError */
export async function processStatus(client: ControlClient): Promise<ProcessStatus> {
  const status = await client.call('status', {}, { timeoutMs: 5000 });
  if (isObject(status) && (status.role === 'serve' || status.role === 'connect'))
    return status as unknown as ProcessStatus;
  throw new NvbraidError('EPROTO', `${client.path} belongs to something else than nvbraid serve or connect`);
}
