import { type ControlClient, isObject, type Params } from '@nvbraid/manage';
import { type BlockRange, type DatasetAttributes, NvbraidError } from 'nvbraid';
import type { Session, SessionNamespace } from './session.ts';
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

  identifyController(): Promise<Uint8Array> {
    return this.#data('identify', { cns: 1, nsid: 0 }, 4096);
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

function rangeParams(ranges: readonly BlockRange[]): { slba: number; blocks: number }[] {
  return ranges.map(({ slba, blocks }) => ({ slba, blocks }));
}

/** Asks a process what it is. @throws NvbraidError */
export async function processStatus(client: ControlClient): Promise<ProcessStatus> {
  const status = await client.call('status', {}, { timeoutMs: 5000 });
  if (isObject(status) && (status.role === 'serve' || status.role === 'connect'))
    return status as unknown as ProcessStatus;
  throw new NvbraidError('EPROTO', `${client.path} belongs to something else than nvbraid serve or connect`);
}
