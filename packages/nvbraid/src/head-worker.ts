import { parentPort, workerData } from 'node:worker_threads';
import { NvbraidError } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import { currentEventLoop, DescriptorLedger, transports } from '@nvbraid/transport';
import { connectSubsystem } from './connect.ts';
import {
  type FromHeadWorker,
  type HeadMethods,
  type HeadThreadStatus,
  type HeadWorkerData,
  type MakeHeadMethods,
  type OfferedHead,
  type PostedError,
  THREAD_STATUS,
  type ToHeadWorker,
} from './head-worker-messages.ts';
import type { HostHead } from './host-head.ts';
import type { HostSubsystem } from './host-subsystem.ts';
import { localPath, startLocalTarget } from './local-target.ts';
import { offerHeads } from './nbd-heads.ts';
import { NbdServer } from './nbd-server.ts';
import { subflowSentences } from './subflow-text.ts';
import type { Target } from './target.ts';

/*
 * A head thread: has controllers of its own by all paths, the heads of its share of the namespaces, and the NBD
 * connections of their clients. A command never leaves it. The main thread hears what is told to a person.
 */

const { options, place, thread, threads, poolBytes, local, methods: moduleUrl, ledger } = workerData as HeadWorkerData;
const port = parentPort!;

function say(message: FromHeadWorker): void {
  port.postMessage(message);
}

function posted(error: unknown): PostedError {
  const code = error instanceof NvbraidError ? error.code : 'EIO';
  const message = error instanceof Error ? error.message : String(error);
  const context = error instanceof NvbraidError ? error.context : {};
  return { code, message, status: error instanceof NvmeError ? error.status : null, context };
}

function describe(heads: ReadonlyMap<number, HostHead>): OfferedHead[] {
  return [...heads.values()]
    .map(({ name, nsid, blockSize, blockCount, readOnly }) => ({ name, nsid, blockSize, blockCount, readOnly }))
    .sort((a, b) => a.nsid - b.nsid);
}

async function start(): Promise<void> {
  // What is open when this thread dies is closed by the main thread. Where there are no raw sockets Node does it.
  if (transports.tcp!.unsupported() === null) currentEventLoop().keep(new DescriptorLedger(ledger));
  const connecting = new AbortController();
  let stopping = (): void => connecting.abort();
  let methods: HeadMethods = {};
  port.on('message', (message: ToHeadWorker) => {
    if (message.kind === 'stop') stopping();
    else void answer(methods, message);
  });
  const target = local === null ? null : await startLocalTarget(local, (message) => say({ kind: 'log', message }));
  let subsystem: HostSubsystem;
  try {
    const by = local === null ? {} : localPath(local);
    // Over all threads a number is one controller: thread t of n has t + 1, t + 1 + n, …
    subsystem = await connectSubsystem({
      ...options,
      ...by,
      controllerNumbers: { first: thread + 1, step: threads },
      signal: connecting.signal,
    });
  } catch (error) {
    await target?.close();
    throw error;
  }
  const server = new NbdServer(poolBytes);
  server.on('log', (message) => say({ kind: 'log', message }));
  subsystem.on('log', (message) => say({ kind: 'log', message }));
  subsystem.subflowWatch.on('changes', (changes) => {
    for (const message of subflowSentences(changes, ({ controller }) => controller)) say({ kind: 'log', message });
  });
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
    await target?.close();
    throw error;
  }
  subsystem.once('closed', (error) => {
    if (error !== null) say({ kind: 'closed', error: posted(error) });
  });
  const status = (): HeadThreadStatus => ({
    thread,
    uri,
    connections: server.connections,
    clients: Object.fromEntries(server.clients()),
    heads: subsystem.status().filter(({ nsid }) => heads.has(nsid)),
  });
  methods = { ...(await moduleMethods(subsystem)), [THREAD_STATUS]: status };
  stopping = () => void stop(server, subsystem, target);
  told = true;
  say({
    kind: 'ready',
    uri,
    heads: describe(heads),
    stallBound: subsystem.stallBound(),
    methods: Object.keys(methods),
  });
}

async function moduleMethods(subsystem: HostSubsystem): Promise<HeadMethods> {
  if (moduleUrl === null) return {};
  const { headMethods } = (await import(moduleUrl)) as { readonly headMethods: MakeHeadMethods };
  return headMethods(subsystem, options);
}

async function answer(methods: HeadMethods, { id, method, params }: ToHeadWorker & { kind: 'call' }): Promise<void> {
  try {
    const known = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (known === undefined) throw new NvbraidError('EINVAL', `head threads have no method ${method}`);
    say({ kind: 'answer', id, result: (await known(params)) ?? null });
  } catch (error) {
    say({ kind: 'refusal', id, error: posted(error) });
  }
}

/** Answers what is under way, makes it stable, and goes. */
async function stop(server: NbdServer, subsystem: HostSubsystem, target: Target | null): Promise<void> {
  const stable = await server.close();
  await subsystem.disconnect();
  await target?.close();
  say({ kind: 'stopped', stable });
}

start().catch((error) => say({ kind: 'failed', error: posted(error) }));
