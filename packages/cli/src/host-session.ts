import type { ReservationStatus } from '@nvbraid/wire';
import {
  type BlockRange,
  connectController,
  type DatasetAttributes,
  type HostController,
  type HostNamespace,
  NvbraidError,
  type ResvAcquire,
  type ResvRegister,
  type ResvRelease,
} from 'nvbraid';
import { advised } from './advice.ts';
import { type Address, connectOptions, formatAddress } from './association.ts';
import { oneController } from './connected.ts';
import { readProperty } from './property.ts';
import { type LogFields, type Session, type SessionNamespace, uuidOf } from './session.ts';
import { type ZonedSession, zonedSession } from './zoned-session.ts';

type Given = Parameters<typeof connectOptions>[0];

/** A session over an association of our own, ended with the session. */
export class HostSession implements Session {
  readonly where: string;
  readonly zoned: ZonedSession;
  readonly #controller: HostController;

  private constructor(where: string, controller: HostController) {
    this.where = where;
    this.zoned = zonedSession(oneController(controller));
    this.#controller = controller;
  }

  /** A lost controller is not waited for: the command fails instead. */
  static async open(address: Address, given: Given, signal: AbortSignal | undefined): Promise<HostSession> {
    const work = connectController({
      ...connectOptions(given),
      ...address,
      ctrlLossTmo: 0,
      ...(signal === undefined ? {} : { signal }),
    });
    const controller = await advised(address, work);
    return new HostSession(formatAddress(address.traddr, address.trsvcid), controller);
  }

  get namespaces(): readonly SessionNamespace[] {
    return describeNamespaces(this.#controller.namespaces);
  }

  async identifyController(device?: string): Promise<Uint8Array> {
    this.#onlyOne(device);
    return this.#controller.identifyBytes;
  }

  async logPage(lid: number, bytes: number, fields: LogFields, device?: string): Promise<Uint8Array> {
    this.#onlyOne(device);
    return this.#controller.getLogPage(lid, bytes, { ...fields, rae: 1 });
  }

  async property(offset: number, wide: boolean, device?: string): Promise<bigint> {
    this.#onlyOne(device);
    return readProperty(this.#controller, offset, wide);
  }

  #onlyOne(device: string | undefined): void {
    if (device === undefined) return;
    throw new NvbraidError(
      'EINVAL',
      `${device} is a controller of an nvbraid connect, and this is an association of its own`,
    );
  }

  identifyNamespace(nsid: number): Promise<Uint8Array> {
    return this.#controller.identifyRaw(0, nsid);
  }

  read(nsid: number, slba: number, buffer: Uint8Array): Promise<void> {
    return this.#controller.namespace(nsid).read(slba, buffer);
  }

  write(nsid: number, slba: number, buffer: Uint8Array, fua: boolean): Promise<void> {
    return this.#controller.namespace(nsid).write(slba, buffer, { fua });
  }

  flush(nsid: number): Promise<void> {
    return this.#controller.namespace(nsid).flush();
  }

  compare(nsid: number, slba: number, buffer: Uint8Array): Promise<boolean> {
    return this.#controller.namespace(nsid).compare(slba, buffer);
  }

  verify(nsid: number, slba: number, blocks: number): Promise<void> {
    return this.#controller.namespace(nsid).verify(slba, blocks);
  }

  writeUncorrectable(nsid: number, slba: number, blocks: number): Promise<void> {
    return this.#controller.namespace(nsid).writeUncorrectable(slba, blocks);
  }

  writeZeroes(nsid: number, slba: number, blocks: number, deallocate: boolean, fua: boolean): Promise<void> {
    return this.#controller.namespace(nsid).writeZeroes(slba, blocks, { deallocate, fua });
  }

  datasetManagement(nsid: number, ranges: readonly BlockRange[], attributes: DatasetAttributes): Promise<void> {
    return this.#controller.namespace(nsid).datasetManagement(ranges, attributes);
  }

  copy(nsid: number, ranges: readonly BlockRange[], sdlba: number, fua: boolean): Promise<void> {
    return this.#controller.namespace(nsid).copy(ranges, sdlba, { fua });
  }

  resvRegister(nsid: number, command: ResvRegister): Promise<void> {
    return this.#controller.namespace(nsid).resvRegister(command);
  }

  resvAcquire(nsid: number, command: ResvAcquire): Promise<void> {
    return this.#controller.namespace(nsid).resvAcquire(command);
  }

  resvRelease(nsid: number, command: ResvRelease): Promise<void> {
    return this.#controller.namespace(nsid).resvRelease(command);
  }

  resvReport(nsid: number, extended: boolean): Promise<ReservationStatus> {
    return this.#controller.namespace(nsid).resvReport(extended ? { eds: true } : {});
  }

  close(): Promise<void> {
    return this.#controller.disconnect();
  }
}

export function describeNamespaces(namespaces: ReadonlyMap<number, HostNamespace>): SessionNamespace[] {
  return [...namespaces.values()]
    .map((namespace) => ({
      nsid: namespace.nsid,
      blockSize: namespace.blockSize,
      blockCount: namespace.blockCount,
      readOnly: namespace.readOnly,
      uuid: uuidOf(namespace.descriptors),
    }))
    .sort((a, b) => a.nsid - b.nsid);
}
