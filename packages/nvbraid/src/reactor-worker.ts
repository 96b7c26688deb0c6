import { setFlagsFromString } from 'node:v8';
import { receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type CommandError, ERROR_LOG_ENTRIES, type ForwardedDone } from '@nvbraid/target';
import { currentEventLoop, installNativeCrc32c, transports } from '@nvbraid/transport';
import { DataPlane } from './data-plane.ts';
import { flushScheduled } from './queue-driver.ts';
import type { FromReactor, ReactorData, ToReactor } from './reactor-messages.ts';
import { sharedClock, systemClock } from './system-clock.ts';

/*
 * A reactor: the thread that owns I/O queues from the moment their Connect is answered. It blocks in epoll_wait; the
 * control plane's messages are fetched when the shared version word has changed, before the commands that have just
 * been received are run.
 */

// The way of a command is many small functions. The compiler's default budget for inlining ends in the middle of it,
// and which accessors then remain calls is a matter of luck: a third of the time that a command takes here.
setFlagsFromString('--max-inlined-bytecode-size-cumulative=3000');

const { port, wakeFd, version, failuresHeard, poolBytes, threads, thread, limits } = workerData as ReactorData;
const versionWord = new Int32Array(version);
let seen = 0;
const heardWord = new Int32Array(failuresHeard);
let failuresTold = 0;
let stopping = false;
/** Commands that the control plane runs, by number: no more than queues have entries. */
const forwarded = new Map<number, ForwardedDone>();
let nextForward = 1;

installNativeCrc32c();
const loop = currentEventLoop();
const plane = new DataPlane({
  poolBytes,
  threads,
  row: thread,
  clock: sharedClock,
  nextTurn: null, // each batch is a turn
  limits,
  limitMet: (limit, sentence) => say({ kind: 'limit-met', limit, sentence }),
  thread,
  commandFailed,
  killController: (association) => say({ kind: 'kill-controller', association }),
  queueGone: (association, qid, error, fatalFes) =>
    say({ kind: 'queue-gone', association, qid, error: error?.message ?? null, fatalFes }),
  log: (message) => say({ kind: 'log', message }),
  forward: (association, nsid, instance, command, done) => {
    const id = nextForward++;
    forwarded.set(id, done);
    say({ kind: 'forward', id, association, nsid, instance, command });
  },
  beforeReceive: applyPublished,
});

/** A host can make commands fail faster than the control plane listens: it hears of as many as its log can hold. */
function commandFailed(association: number, error: CommandError): void {
  if (((failuresTold - Atomics.load(heardWord, 0)) | 0) >= ERROR_LOG_ENTRIES) return;
  failuresTold = (failuresTold + 1) | 0;
  say({ kind: 'command-failed', association, error });
}

function say(message: FromReactor): void {
  port.postMessage(message);
}

/** One atomic load when there is nothing new. */
function applyPublished(): void {
  while (Atomics.load(versionWord, 0) !== seen) {
    seen = Atomics.load(versionWord, 0);
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
      apply(next.message as ToReactor);
    }
  }
}

function apply(message: ToReactor): void {
  switch (message.kind) {
    case 'subsystem':
      plane.update(message.snapshot);
      break;
    case 'queue':
      plane.adopt(transports[message.transport]!.adopt(message.fd), message.handoff, message.owner);
      break;
    case 'faults':
      plane.faults.update(message.faults);
      break;
    case 'close-queue':
      plane.closeQueue(message.association, message.qid);
      break;
    case 'flush':
      void plane.flush(message.nqn).then(() => say({ kind: 'barrier', id: message.id }));
      break;
    case 'barrier':
      void plane.settled().then(() => say({ kind: 'barrier', id: message.id }));
      break;
    case 'drain-queues':
      void plane.drainQueues().then(() => say({ kind: 'barrier', id: message.id }));
      break;
    case 'drain':
      void plane.drain(message.instance).then(() => say({ kind: 'barrier', id: message.id }));
      break;
    case 'subflows': {
      const { id, association, qid, backup } = message;
      say({ kind: 'subflows', id, report: plane.subflows(association, qid, backup) });
      break;
    }
    case 'forwarded':
      forwarded.get(message.id)?.(message.status, message.data);
      forwarded.delete(message.id);
      break;
    case 'stop':
      stopping = true;
      break;
  }
}

const running = loop.runDedicated({
  wakeFd,
  pendingWork: () => plane.background.count > 0 || stopping,
  onWake: applyPublished,
  patienceMs: () => plane.scheduler.patienceMs,
  afterBatch: () => {
    flushScheduled();
    plane.scheduler.endTurn();
    if (stopping) void stop();
  },
});

// Timers run late here, by as long as the loop blocks: a look is not in a hurry.
const watch = setInterval(() => plane.look(systemClock.nowMs()), plane.lookMs);

let stopped = false;
async function stop(): Promise<void> {
  if (stopped) return;
  stopped = true;
  clearInterval(watch);
  await plane.close();
  loop.stop();
  await running;
  say({ kind: 'stopped' });
  port.close();
}

say({ kind: 'ready' });
