import { NvbraidError } from '@nvbraid/base';
import { Status, statusName, statusParts } from '@nvbraid/wire';

/** The controller, or the host itself (path errors), ended a command with a status other than success. */
export class NvmeError extends NvbraidError {
  override name = 'NvmeError';
  /** Status word without phase bit: sct, sc, more, dnr; see wire's `Status`. */
  readonly status: number;
  readonly statusName: string;
  readonly sct: number;
  readonly sc: number;
  /** Do not retry: the same command will fail again. */
  readonly dnr: boolean;

  /**
   * @param what the command for a person, e.g. `Read at LBA 8 (nsid 1)`
   * @param fabrics true when it was a fabrics command, whose command specific values have other names
   */
  constructor(what: string, status: number, fabrics = false, cause?: unknown) {
    const { sct, sc, dnr } = statusParts(status);
    const name = statusName(status, fabrics);
    super('ENVME', `${what}: ${name} (sct ${hex(sct)}h, sc ${hex(sc)}h${dnr ? ', DNR' : ''})`, {
      retryable: !dnr && isTransient(status),
      context: { sct, sc, dnr },
      ...(cause === undefined ? {} : { cause }),
    });
    this.status = status;
    this.statusName = name;
    this.sct = sct;
    this.sc = sc;
    this.dnr = dnr;
  }
}

/** The command says nothing about the data: the path to the controller broke, or the controller asks to try again. */
export function isTransient(status: number): boolean {
  if ((status & 0x700) === 0x300) return (status & 0x7ff) !== Status.CommandAbortedByHost;
  const value = status & 0x7ff;
  return value === Status.TransientTransportError || value === Status.CommandInterrupted;
}

function hex(value: number): string {
  return value.toString(16).padStart(value > 15 ? 2 : 1, '0');
}
