import { isObject, type Methods, type Params } from '@nvbraid/manage';
import { type NbdHeads, NvbraidError, type PathOptions } from 'nvbraid';
import { sentence } from './explain.ts';
import { pathOf } from './path-methods.ts';
import type { ConnectStatus } from './status.ts';

/**
 * The control socket of `nvbraid nbd`: one subsystem, although each of its threads has connected it for itself. Thread t of
 * n has the namespaces t + 1, t + 1 + n, … and the controllers of these numbers; who is asked follows from that.
 */
export class NbdControl {
  readonly #heads: NbdHeads;
  readonly #stop: () => void;
  readonly #log: (message: string) => void;
  #paths: readonly PathOptions[];

  /** @param paths that the threads were started with; none for what they serve themselves */
  constructor(heads: NbdHeads, paths: readonly PathOptions[], on: { stop(): void; log(message: string): void }) {
    this.#heads = heads;
    this.#paths = paths;
    this.#stop = on.stop;
    this.#log = on.log;
  }

  methods(): Methods {
    const routed = this.#heads.methods.map((method) => [
      method,
      (params: Params) => this.#heads.call(this.#threadFor(params), method, params),
    ]);
    return {
      ...(Object.fromEntries(routed) as Methods),
      status: () => this.#status(),
      iopolicy: async (params) => {
        const [answer] = await this.#everywhere('iopolicy', params);
        if (typeof params.iopolicy === 'string') this.#heads.remember({ iopolicy: params.iopolicy });
        return answer;
      },
      reset: async (params) => {
        if (params.controller !== undefined && params.controller !== null) {
          return this.#heads.call(this.#threadFor(params), 'reset', params);
        }
        const answers = await this.#everywhere('reset', params);
        return { controllers: answers.flatMap((one) => (isObject(one) ? one.controllers : [])) };
      },
      'add-path': async (params) => {
        if (this.#paths.length === 0) {
          throw new NvbraidError('EINVAL', 'what this process serves itself has no other path');
        }
        const [first] = await this.#everywhere('add-path', params);
        this.#paths = [...this.#paths, { ...pathOf(params), duplicateConnect: params.duplicate === true }];
        this.#heads.remember({ paths: this.#paths });
        return first;
      },
      // After the answer is on its way.
      disconnect: () => void setImmediate(this.#stop),
    };
  }

  /** Whose namespace or controller it is; the first one that is there for what any of them knows. */
  #threadFor({ nsid, controller }: Params): number {
    const { threads } = this.#heads;
    const named = typeof controller === 'string' ? /^nvme([1-9][0-9]{0,8})$/.exec(controller)?.[1] : undefined;
    const number = named ?? nsid;
    if (named !== undefined || (typeof number === 'number' && Number.isInteger(number) && number > 0)) {
      return (Number(number) - 1) % threads;
    }
    return this.#heads.offers[0]?.thread ?? 0;
  }

  /** What all threads answer; those that fail are told of while at least one does not. @throws the first error, if all fail */
  async #everywhere(method: string, params: Params): Promise<unknown[]> {
    const { threads } = this.#heads;
    const calls = Array.from({ length: threads }, (_, thread) => this.#heads.call(thread, method, params));
    const results = await Promise.allSettled(calls);
    const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = results.filter((result) => result.status === 'rejected');
    if (done.length === 0) throw failed[0]!.reason;
    for (const { reason } of failed) this.#log(`${method} failed in one of ${threads} threads: ${sentence(reason)}`);
    return done;
  }

  async #status(): Promise<ConnectStatus> {
    const { threads, offers } = this.#heads;
    const calls = Array.from({ length: threads }, (_, thread) => this.#heads.call(thread, 'status'));
    const [all, standing] = await Promise.all([Promise.allSettled(calls), this.#heads.status()]);
    const parts = all.flatMap((result, thread) =>
      result.status === 'fulfilled' ? [ofThread(result.value as ConnectStatus, thread, threads)] : [],
    );
    const shown = parts.find(({ state }) => state === 'live') ?? parts[0];
    if (shown === undefined) throw new NvbraidError('EWOULDBLOCK', 'the threads are being started again: try again');
    const clients = Object.assign({}, ...standing.map((one) => one.clients)) as Record<string, number>;
    return {
      ...shown,
      held: sum(parts.map(({ held }) => held)),
      controllers: parts.flatMap(({ controllers }) => controllers).sort((a, b) => number(a.name) - number(b.name)),
      heads: parts.flatMap(({ heads }) => heads).sort((a, b) => a.nsid - b.nsid),
      namespaces: parts.flatMap(({ namespaces }) => namespaces).sort((a, b) => a.nsid - b.nsid),
      stats: threads === 1 ? shown.stats : sumOf(parts.map(({ stats }) => stats)),
      nbd: {
        threads,
        connections: sum(standing.map(({ connections }) => connections)),
        exports: offers.map(({ name, nsid, uri, thread }) => ({
          name,
          nsid,
          uri,
          thread,
          clients: clients[name] ?? 0,
        })),
      },
    };
  }
}

/** Without the namespaces that other threads offer. */
function ofThread(status: ConnectStatus, thread: number, threads: number): ConnectStatus {
  const has = ({ nsid }: { readonly nsid: number }): boolean => (nsid - 1) % threads === thread;
  return { ...status, heads: status.heads.filter(has), namespaces: status.namespaces.filter(has) };
}

function number(name: string): number {
  return Number(/[0-9]+$/.exec(name)?.[0] ?? 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Counters alone: percentiles cannot be added. */
function sumOf(parts: readonly ConnectStatus['stats'][]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const [name, value] of parts.flatMap((part) => Object.entries(part))) {
    if (typeof value === 'number') total[name] = (total[name] ?? 0) + value;
  }
  return total;
}
