import { parentPort, workerData } from 'node:worker_threads';
import { NvbraidError } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import { currentEventLoop, DescriptorLedger, transports } from '@nvbraid/transport';
import { connectSubsystem } from './connect.ts';
import type { FromHeadWorker, HeadWorkerData, OfferedHead, PostedError, ToHeadWorker } from './head-worker-messages.ts';
import type { HostHead } from './host-head.ts';
import type { HostSubsystem } from './host-subsystem.ts';
import { offerHeads } from './nbd-heads.ts';
import { NbdServer } from './nbd-server.ts';

/*
 * A head thread: has controllers of its own by all paths, the heads of its share of the namespaces, and the NBD
 * connections of their clients. A command never leaves it. The main thread hears what is told to a person.
 */

const { options, place, thread, threads, poolBytes, ledger } = workerData as HeadWorkerData;
const port = parentPort!;

function say(message: FromHeadWorker): void {
  port.postMessage(message);
}

function posted(error: unknown): PostedError {
  const code = error instanceof NvbraidError ? error.code : 'EIO';
  const message = error instanceof Error ? error.message : String(error);
  return { code, message, status: error instanceof NvmeError ? error.status : null };
}

function describe(heads: ReadonlyMap<number, HostHead>): OfferedHead[] {
  return [...heads.values()]
    .map(({ name, nsid, blockSize, blockCount, readOnly }) => ({ name, nsid, blockSize, blockCount, readOnly }))
    .sort((a, b) => a.nsid - b.nsid);
}

async function start(): Promise<void> {
  // What is open when this thread dies is closed by the main thread. Where there are no raw sockets Node does it.
  if (transports.tcp!.unsupported() === null) currentEventLoop().keep(new DescriptorLedger(ledger));
  const subsystem = await connectSubsystem(options);
  const server = new NbdServer(poolBytes);
  server.on('log', (message) => say({ kind: 'log', message }));
  subsystem.on('log', (message) => say({ kind: 'log', message }));
  const watched = new WeakSet<HostHead>();
  let told = false;
  const changed = (): void => {
    for (const head of heads.values()) {
      if (watched.has(head)) continue;
      watched.add(head);
      head.on('path-state', (path, state) => say({ kind: 'path', path, state }));
    }
    if (told) say({ kind: 'heads', heads: describe(heads) });
  };
  const heads = new Map<number, HostHead>();
  offerHeads(server, subsystem, heads, (nsid) => (nsid - 1) % threads === thread, changed);
  let uri: string;
  try {
    uri = await server.listen(place);
  } catch (error) {
    await server.close();
    await subsystem.disconnect();
    throw error;
  }
  subsystem.once('closed', (error) => {
    if (error !== null) say({ kind: 'closed', error: posted(error) });
  });
  port.on('message', (message: ToHeadWorker) => {
    if (message.kind === 'stop') return void stop(server, subsystem);
    const clients = Object.fromEntries(server.clients());
    const status = { thread, uri, connections: server.connections, clients, heads: statusOf(subsystem, heads) };
    say({ kind: 'status', id: message.id, status });
  });
  told = true;
  say({ kind: 'ready', uri, heads: describe(heads), stallBound: subsystem.stallBound() });
}

function statusOf(subsystem: HostSubsystem, heads: ReadonlyMap<number, HostHead>) {
  return subsystem.status().filter(({ nsid }) => heads.has(nsid));
}

/** Answers what is under way, makes it stable, and goes. */
async function stop(server: NbdServer, subsystem: HostSubsystem): Promise<void> {
  await server.close();
  await subsystem.disconnect();
  say({ kind: 'closed', error: null });
}

start().catch((error) => say({ kind: 'failed', error: posted(error) }));
