import {
  changedRecords,
  type DiscoveryService,
  DiscoveryWatch,
  NvbraidError,
  type ServiceStatus,
  type ToldRecord,
} from 'nvbraid';
import { advised } from './advice.ts';
import { formatAddress } from './association.ts';
import { entryFields, printLog } from './discovery-text.ts';
import { sentence } from './explain.ts';
import type { StopSignal } from './stop-signal.ts';
import type { Terminal } from './terminal.ts';

const RETRY_MS = 10_000;

/** `discover --persistent`: lasting connections to discovery controllers, in the foreground. */
export class DiscoveryProcess {
  readonly #service: DiscoveryService & { readonly transport: string; readonly trsvcid: number };
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #watch: DiscoveryWatch;
  #told: readonly ToldRecord[] = [];
  /** Null before the first log is printed. */
  #states: Map<string, string> | null = null;
  #closing = false;

  constructor(
    service: DiscoveryService & { readonly transport: string; readonly trsvcid: number },
    terminal: Terminal,
    how: { readonly json: boolean; readonly referrals: boolean },
  ) {
    this.#service = service;
    this.#terminal = terminal;
    this.#json = how.json;
    const events = {
      changed: () => this.#changed(),
      service: (status: ServiceStatus) => this.#state(status),
      log: (message: string) => this.#event('log', message, { message }),
    };
    this.#watch = how.referrals
      ? new DiscoveryWatch([service], RETRY_MS, events)
      : new DiscoveryWatch([service], RETRY_MS, events, 0);
  }

  /** Fulfilled with the exit code. @throws NvbraidError, NvmeError when the first one does not answer at all */
  async run(stop: StopSignal): Promise<number> {
    const watch = this.#watch;
    const close = (): Promise<void> => {
      this.#closing = true;
      return watch.close();
    };
    const onAbort = (): void => void close();
    stop.signal.addEventListener('abort', onAbort, { once: true });
    await watch.start();
    stop.signal.removeEventListener('abort', onAbort);
    if (stop.stopped) throw new NvbraidError('EABORTED', 'discovery was aborted');
    const { error } = watch.services[0]!;
    if (error !== null) {
      await close();
      await advised(this.#service, Promise.reject(error));
    }
    this.#first();
    await stop.wait();
    await close();
    return 0;
  }

  #first(): void {
    this.#told = this.#watch.records();
    const { services } = this.#watch;
    this.#states = new Map(services.map((service) => [whereOf(service), service.state]));
    for (const service of services) this.#log(service);
    if (!this.#json) this.#terminal.line('\nWaiting for changes. Ctrl-C ends.');
  }

  #log(service: ServiceStatus): void {
    const { traddr, trsvcid, depth, genctr, error } = service;
    const records = this.#told.filter((one) => whereOf(one.service) === whereOf(service)).map(({ record }) => record);
    if (error !== null) {
      const message = `referral to ${whereOf(service)}: ${sentence(error)}`;
      if (this.#json) this.#event('state', '', { traddr, trsvcid, state: service.state, error: error.message });
      else this.#terminal.note(message);
    } else if (this.#json) {
      this.#event('discovered', '', { traddr, trsvcid, depth, genctr, records: records.map(entryFields) });
    } else {
      if (depth > 0) this.#terminal.line(`\nReferral to ${whereOf(service)}`);
      printLog(records, genctr, this.#terminal);
    }
  }

  #changed(): void {
    if (this.#states === null) return;
    const before = this.#told;
    this.#told = this.#watch.records();
    const { added, removed } = changedRecords(before, this.#told);
    if (added.length + removed.length === 0) return;
    if (this.#json) {
      const fields = ({ record, service }: ToldRecord): object => ({ from: whereOf(service), ...entryFields(record) });
      this.#event('changed', '', { added: added.map(fields), removed: removed.map(fields) });
      return;
    }
    for (const one of removed) this.#event('removed', `- ${describe(one)}`, {});
    for (const one of added) this.#event('added', `+ ${describe(one)}`, {});
  }

  #state(service: ServiceStatus): void {
    if (this.#states === null) return;
    const { traddr, trsvcid, state, error } = service;
    const where = whereOf(service);
    if (this.#states.get(where) === state && error === null) return;
    this.#states.set(where, state);
    const why = error === null ? '' : `: ${sentence(error)}`;
    this.#event('state', `discovery at ${where} ${state}${why}`, { traddr, trsvcid, state, error: error?.message });
  }

  /** One line. What follows from our own closing is not told. */
  #event(event: string, text: string, fields: object): void {
    if (!this.#closing) this.#terminal.event(this.#json, event, text, fields);
  }
}

function whereOf({ traddr, trsvcid }: { readonly traddr: string; readonly trsvcid?: number | string }): string {
  return formatAddress(traddr, Number(trsvcid));
}

function describe({ record, service }: ToldRecord): string {
  const { trtype, subtype, subnqn, traddr, trsvcid } = entryFields(record);
  return `${trtype} ${formatAddress(String(traddr), Number(trsvcid))} ${subnqn} (${subtype}), told by ${whereOf(service)}`;
}
