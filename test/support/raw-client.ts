/* A TCP connection to a target that says exactly what a test wants, and reads whole PDUs. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { icReq } from './raw-pdu.ts';
import { type Reply, ReplyReader } from './replies.ts';

const PATIENCE_MS = 30_000;

export class RawClient {
  readonly replies: Reply[] = [];
  /** True when the target has ended the connection. */
  ended = false;
  readonly localPort: number;
  readonly #socket: Socket;
  readonly #reader = new ReplyReader();
  #stash = new Uint8Array();
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.localPort = socket.localPort!;
    socket.on('data', (bytes) => this.#received(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** A connection on which ICReq and ICResp have been exchanged. */
  static async open(port: number, ic: Parameters<typeof icReq>[0] = {}): Promise<RawClient> {
    const client = await RawClient.connect(port);
    await client.ask(icReq(ic));
    return client;
  }

  send(...pdus: Uint8Array[]): void {
    for (const pdu of pdus) this.#socket.write(pdu);
  }

  /** Sends, and waits for the next reply. */
  async ask(pdu: Uint8Array): Promise<Reply> {
    const seen = this.replies.length;
    this.send(pdu);
    await this.until(() => this.replies.length > seen);
    return this.replies[seen]!;
  }

  async until(condition: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!condition()) {
      if (this.ended || performance.now() > deadline) {
        throw new Error(
          `${this.ended ? 'the target has closed' : 'no answer'}; replies: ${JSON.stringify(this.replies)}`,
        );
      }
      await new Promise<void>((wake) => {
        const timer = setTimeout(wake, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          wake();
        };
      });
    }
  }

  async untilEnded(): Promise<void> {
    await this.until(() => this.ended).catch((error) => {
      if (!this.ended) throw error;
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The reader wants whole PDUs. */
  #received(bytes: Uint8Array): void {
    const all = Buffer.concat([this.#stash, bytes]);
    let end = 0;
    while (all.length - end >= 8 && all.length - end >= all.readUInt32LE(end + 4)) end += all.readUInt32LE(end + 4);
    this.#stash = Uint8Array.from(all.subarray(end));
    this.replies.push(...this.#reader.read(Uint8Array.from(all.subarray(0, end))));
    this.#wake();
  }
}
