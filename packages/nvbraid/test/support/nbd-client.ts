import assert from 'node:assert/strict';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import {
  NBD_OPTION_MAGIC,
  NBD_REQUEST_MAGIC,
  NbdCommand,
  NbdGreeting,
  NbdInfoExport,
  NbdOption,
  NbdOptionReply,
  NbdOptionRequest,
  NbdReply,
  NbdRequest,
  NbdSimpleReply,
} from '@nvbraid/wire';

/** An NBD client on a real socket, with simple replies; several requests may be under way. */
export class NbdClient {
  size = 0;
  flags = 0;
  /** Fulfilled when the server has closed. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #buffer: Buffer = Buffer.alloc(0);
  #wake: () => void = () => {};
  #gone = false;
  #cookie = 0;
  readonly #pending = new Map<number, { bytes: number; resolve(reply: { error: number; data: Buffer }): void }>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#gone = true;
        this.#wake();
        for (const { resolve: end } of this.#pending.values()) end({ error: -1, data: Buffer.alloc(0) });
        this.#pending.clear();
        resolve();
      });
    });
  }

  /** @param uri of a server, as `NbdServer.listen` answers it */
  static async connect(uri: string, name = ''): Promise<NbdClient> {
    const client = new NbdClient(connect(placeOf(uri)));
    NbdGreeting.parse(viewOf(await client.#take(NbdGreeting.size)));
    const text = Buffer.from(name);
    const data = Buffer.alloc(4 + text.length + 2);
    data.writeUInt32BE(text.length);
    data.set(text, 4);
    const option = NbdOptionRequest.toBytes({
      magicHigh: NBD_OPTION_MAGIC[0],
      magicLow: NBD_OPTION_MAGIC[1],
      option: NbdOption.Go,
      length: data.length,
    });
    client.#socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), option, data]));
    for (;;) {
      const reply = NbdOptionReply.parse(viewOf(await client.#take(NbdOptionReply.size)));
      const body = await client.#take(reply.length);
      assert.ok(reply.type < 0x80000000, `GO ${name}: ${body.toString()}`);
      if (reply.type === NbdReply.Ack) break;
      if (body.readUInt16BE(0) !== 0) continue;
      const { exportSize, flags } = NbdInfoExport.parse(viewOf(body));
      client.size = exportSize;
      client.flags = flags;
    }
    void client.#replies();
    return client;
  }

  async #take(length: number): Promise<Buffer> {
    while (this.#buffer.length < length) {
      if (this.#gone) throw new Error('the NBD server has closed the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const bytes = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return bytes;
  }

  async #replies(): Promise<void> {
    try {
      for (;;) {
        const { error, cookieLow } = NbdSimpleReply.parse(viewOf(await this.#take(NbdSimpleReply.size)));
        const { bytes, resolve } = this.#pending.get(cookieLow)!;
        const data = Buffer.from(await this.#take(error === 0 ? bytes : 0));
        this.#pending.delete(cookieLow);
        resolve({ error, data });
      }
    } catch {
      // `closed` says it.
    }
  }

  /** @returns error -1 when the connection was lost */
  request(type: number, offset: number, length: number, flags = 0, data: Buffer = Buffer.alloc(0)) {
    const cookieLow = ++this.#cookie;
    const header = NbdRequest.toBytes({
      magic: NBD_REQUEST_MAGIC,
      flags,
      type,
      cookieHigh: 0,
      cookieLow,
      offset,
      length,
    });
    return new Promise<{ error: number; data: Buffer }>((resolve) => {
      if (this.#gone) return resolve({ error: -1, data: Buffer.alloc(0) });
      this.#pending.set(cookieLow, { bytes: type === NbdCommand.Read ? length : 0, resolve });
      this.#socket.write(Buffer.concat([header, data]));
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const { error, data } = await this.request(NbdCommand.Read, offset, length);
    assert.equal(error, 0, 'read');
    return data;
  }

  async write(offset: number, data: Buffer, flags = 0): Promise<void> {
    const { error } = await this.request(NbdCommand.Write, offset, data.length, flags, data);
    assert.equal(error, 0, 'write');
  }

  async flush(): Promise<void> {
    assert.equal((await this.request(NbdCommand.Flush, 0, 0)).error, 0, 'flush');
  }

  end(): void {
    this.#socket.destroy();
  }
}

function placeOf(uri: string): NetConnectOpts {
  const { hostname, port, searchParams } = new URL(uri);
  const path = searchParams.get('socket');
  return path !== null ? { path } : { host: hostname.replace(/[[\]]/g, ''), port: Number(port) };
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
