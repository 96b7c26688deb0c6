import { Memory, NvbraidError } from '@nvbraid/base';
import { NvmeError } from '@nvbraid/host';
import {
  IoOpcode,
  parseReservationStatus,
  ReservationAcquireData,
  ReservationAcquireSqe,
  ReservationRegisterData,
  ReservationRegisterSqe,
  ReservationReleaseData,
  ReservationReleaseSqe,
  ReservationReportSqe,
  type ReservationStatus,
  Status,
} from '@nvbraid/wire';
import type { HostIo, Prepare } from './host-io.ts';
import type { IoNamespace, OperationKind } from './host-operation.ts';

/** Reservation Register (Base 2.1, 7.6). Keys are 64-bit numbers; what is not given is 0. */
export interface ResvRegister {
  /** `ReservationRegisterAction`: register, unregister, replace. */
  readonly rrega?: number;
  /** Do not compare `crkey`. */
  readonly iekey?: boolean;
  /** `ChangePtpl`: what becomes of Persist Through Power Loss. */
  readonly cptpl?: number;
  /** The key that the host has. */
  readonly crkey?: bigint;
  readonly nrkey?: bigint;
}

/** Reservation Acquire (Base 2.1, 7.5). */
export interface ResvAcquire {
  /** `ReservationAcquireAction`: acquire, preempt, preempt and abort. */
  readonly racqa?: number;
  readonly iekey?: boolean;
  /** `ReservationType`. */
  readonly rtype: number;
  readonly crkey?: bigint;
  /** The key whose registrants are preempted. */
  readonly prkey?: bigint;
}

/** Reservation Release (Base 2.1, 7.7). */
export interface ResvRelease {
  /** `ReservationReleaseAction`: release, clear. */
  readonly rrela?: number;
  readonly iekey?: boolean;
  /** The type that is held. */
  readonly rtype?: number;
  readonly crkey?: bigint;
}

export interface ResvReport {
  /** Extended data structure, with host identifiers of 128 bits. Default: whichever the controller has. */
  readonly eds?: boolean;
}

/** Bytes of the first report: most namespaces have no more than 62 registrants. */
const REPORT_BYTES = 4096;

/** The reservation commands of one namespace. Those that change something are never sent twice. */
export class HostReservations {
  readonly #io: HostIo;
  readonly #namespace: IoNamespace;

  constructor(io: HostIo, namespace: IoNamespace) {
    this.#io = io;
    this.#namespace = namespace;
  }

  register(command: ResvRegister, signal: AbortSignal | undefined): Promise<void> {
    const { rrega = 0, iekey = false, cptpl = 0, crkey = 0n, nrkey = 0n } = command;
    return this.#send('Reservation Register', signal, () => {
      checkFields({ rrega: [rrega, 7], cptpl: [cptpl, 3] });
      checkKeys({ crkey, nrkey });
      const data = Memory.over(ReservationRegisterData.toBytes({ crkey, nrkey }));
      return [
        data,
        ({ sqe: { view } }) => {
          ReservationRegisterSqe.rrega.set(view, 0, rrega);
          ReservationRegisterSqe.iekey.set(view, 0, iekey ? 1 : 0);
          ReservationRegisterSqe.cptpl.set(view, 0, cptpl);
        },
      ];
    });
  }

  acquire(command: ResvAcquire, signal: AbortSignal | undefined): Promise<void> {
    const { racqa = 0, iekey = false, rtype, crkey = 0n, prkey = 0n } = command;
    return this.#send('Reservation Acquire', signal, () => {
      checkFields({ racqa: [racqa, 7], rtype: [rtype, 255] });
      checkKeys({ crkey, prkey });
      const data = Memory.over(ReservationAcquireData.toBytes({ crkey, prkey }));
      return [
        data,
        ({ sqe: { view } }) => {
          ReservationAcquireSqe.racqa.set(view, 0, racqa);
          ReservationAcquireSqe.iekey.set(view, 0, iekey ? 1 : 0);
          ReservationAcquireSqe.rtype.set(view, 0, rtype);
        },
      ];
    });
  }

  release(command: ResvRelease, signal: AbortSignal | undefined): Promise<void> {
    const { rrela = 0, iekey = false, rtype = 0, crkey = 0n } = command;
    return this.#send('Reservation Release', signal, () => {
      checkFields({ rrela: [rrela, 7], rtype: [rtype, 255] });
      checkKeys({ crkey });
      const data = Memory.over(ReservationReleaseData.toBytes({ crkey }));
      return [
        data,
        ({ sqe: { view } }) => {
          ReservationReleaseSqe.rrela.set(view, 0, rrela);
          ReservationReleaseSqe.iekey.set(view, 0, iekey ? 1 : 0);
          ReservationReleaseSqe.rtype.set(view, 0, rtype);
        },
      ];
    });
  }

  /** All registrants, however many there are. */
  async report({ eds }: ResvReport, signal: AbortSignal | undefined): Promise<ReservationStatus> {
    let extended = eds ?? true;
    for (let bytes = REPORT_BYTES; ; ) {
      let page: Uint8Array;
      try {
        page = await this.reportBytes(extended, bytes, signal);
      } catch (error) {
        const other = error instanceof NvmeError && (error.status & 0x7ff) === Status.HostIdentifierInconsistentFormat;
        if (!other || eds !== undefined || !extended) throw error;
        extended = false;
        continue;
      }
      const status = parseReservationStatus(page, extended);
      if (!status.ok) throw new NvbraidError('EPROTO', `Reservation Report: ${status.reason}`);
      if (status.value.registrants.length >= status.value.regctl) return status.value;
      bytes = Math.max(bytes * 2, 64 + status.value.regctl * 64);
    }
  }

  /** The data structure as it comes, cut after `bytes` bytes. */
  async reportBytes(extended: boolean, bytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (signal?.aborted) throw aborted(signal);
    const memory = Memory.alloc(bytes);
    const prepare: Prepare = (command, nsid) => {
      command.reset(IoOpcode.ReservationReport, nsid);
      ReservationReportSqe.numd.set(command.sqe.view, 0, bytes / 4 - 1);
      ReservationReportSqe.eds.set(command.sqe.view, 0, extended ? 1 : 0);
    };
    await this.#io.fetch('Reservation Report', this.#namespace, memory, bytes, prepare, signal);
    return memory.bytes;
  }

  async #send(kind: OperationKind, signal: AbortSignal | undefined, make: () => [Memory, Fill]): Promise<void> {
    if (signal?.aborted) throw aborted(signal);
    const [memory, fill] = make();
    const prepare: Prepare = (command, nsid) => fill(command.reset(OPCODES[kind]!, nsid));
    await this.#io.command(kind, this.#namespace, memory, memory.length, prepare, signal, true);
  }
}

type Fill = (command: { readonly sqe: Memory }) => void;

const OPCODES: Partial<Record<OperationKind, number>> = {
  'Reservation Register': IoOpcode.ReservationRegister,
  'Reservation Acquire': IoOpcode.ReservationAcquire,
  'Reservation Release': IoOpcode.ReservationRelease,
};

/** Whether the values mean something is for the controller to say; they must only fit their fields. */
function checkFields(fields: Readonly<Record<string, readonly [value: number, most: number]>>): void {
  for (const [name, [value, most]] of Object.entries(fields)) {
    if (!Number.isInteger(value) || value < 0 || value > most) {
      throw new NvbraidError('EINVAL', `${name} is not a whole number from 0 to ${most}: ${value}`);
    }
  }
}

function checkKeys(keys: Readonly<Record<string, bigint>>): void {
  for (const [name, key] of Object.entries(keys)) {
    if (typeof key !== 'bigint' || key < 0n || key > 0xffff_ffff_ffff_ffffn) {
      throw new NvbraidError('EINVAL', `${name} is not a bigint of 64 bits: ${key}`);
    }
  }
}

function aborted(signal: AbortSignal): NvbraidError {
  return new NvbraidError('EABORTED', 'aborted before it was sent', { cause: signal.reason });
}
