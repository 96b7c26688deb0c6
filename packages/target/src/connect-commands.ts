import {
  CATTR_DISABLE_SQFLOW,
  CNTLID_DYNAMIC,
  CONNECT_DATA_SIZE,
  ConnectData,
  ConnectSqe,
  DNR,
  FabricsStatus,
  FabricsType,
  Status,
} from '@nvbraid/wire';
import { AdminCommands } from './admin-commands.ts';
import { Controller, type LocalAddress } from './controller.ts';
import { DISCOVERY_KIND } from './discovery-controller.ts';
import { IO_KIND } from './io-controller.ts';
import { MAX_KEEP_ALIVE_MS } from './limits.ts';
import { nqnProblem } from './nqn.ts';
import type { Port } from './port.ts';
import { MAX_QUEUE_SIZE } from './queue-limits.ts';
import type { CommandQueue, CommandSet, Request } from './request.ts';
import type { Target } from './target.ts';

/** Dword 0 of a refused Connect: where the parameter lies that is not valid (Base 2.1, 6.3). */
function inSqe(field: { offset: number }): number {
  return field.offset;
}

function inData(field: { offset: number }): number {
  return 0x10000 | field.offset;
}

const INVALID_PARAMETERS = FabricsStatus.ConnectInvalidParameters | DNR;

/** What a queue can do before it belongs to a controller: Connect, and nothing else. */
export class ConnectCommands implements CommandSet {
  readonly #target: Target;
  readonly #queue: CommandQueue;
  readonly #port: Port;
  readonly #local: LocalAddress | null;

  constructor(target: Target, queue: CommandQueue, port: Port, local: LocalAddress | null) {
    this.#target = target;
    this.#queue = queue;
    this.#port = port;
    this.#local = local;
  }

  admit(request: Request): number {
    if (!request.fabrics || request.opcode !== FabricsType.Connect) return Status.CommandSequenceError | DNR;
    if (request.sglLength !== CONNECT_DATA_SIZE) return Status.DataSglLengthInvalid | DNR;
    return 0;
  }

  execute(request: Request): void {
    // Commands that were sent behind a Connect may still reach this set when it has succeeded meanwhile.
    if (this.#queue.qid >= 0) return request.complete(Status.CommandSequenceError | DNR);
    const sqe = ConnectSqe.parse(request.sqeView, request.sqeBase);
    const data = ConnectData.parse(request.dataMemory.view, request.dataOffset);
    if (sqe.recfmt !== 0) {
      return request.complete(FabricsStatus.IncompatibleFormat | DNR, inSqe(ConnectSqe.recfmt));
    }
    // Queues are two entries at least: a queue of one could never hold a command (NVMe 0's based sizes start at 1).
    if (sqe.sqsize === 0 || sqe.sqsize + 1 > (sqe.qid === 0 ? MAX_QUEUE_SIZE : this.#port.maxQueueSize)) {
      return request.complete(INVALID_PARAMETERS, inSqe(ConnectSqe.sqsize));
    }
    if (nqnProblem(data.subnqn) !== null) return request.complete(INVALID_PARAMETERS, inData(ConnectData.subnqn));
    if (nqnProblem(data.hostnqn) !== null) return request.complete(INVALID_PARAMETERS, inData(ConnectData.hostnqn));
    if (sqe.qid === 0) this.#connectAdmin(request, sqe, data);
    else this.#connectIo(request, sqe, data);
  }

  closed(): void {}

  #connectAdmin(request: Request, sqe: ConnectSqe, data: ConnectData): void {
    const discovery = this.#target.isDiscovery(data.subnqn);
    const subsystem = discovery ? null : (this.#target.subsystem(data.subnqn) ?? null);
    const reachable = discovery ? this.#port.enabled : this.#leadsTo(data.subnqn);
    if (!reachable) return request.complete(INVALID_PARAMETERS, inData(ConnectData.subnqn));
    if (subsystem !== null && !subsystem.allows(data.hostnqn)) {
      return request.complete(FabricsStatus.ConnectInvalidHost | DNR, inData(ConnectData.hostnqn));
    }
    // Controllers are made on demand: a host must not ask for a particular one.
    if (data.cntlid !== CNTLID_DYNAMIC) return request.complete(INVALID_PARAMETERS, inData(ConnectData.cntlid));
    if (sqe.kato > MAX_KEEP_ALIVE_MS) return request.complete(INVALID_PARAMETERS, inSqe(ConnectSqe.kato));
    const table = subsystem?.controllers ?? this.#target.discoveryControllers;
    const full = this.#target.closed || this.#target.refusesController(data.hostnqn, table) !== null;
    const cntlid = full ? 0 : table.allocate();
    if (cntlid === 0) return request.complete(FabricsStatus.ControllerBusy);
    const controller = new Controller(
      {
        kind: discovery ? DISCOVERY_KIND : IO_KIND,
        target: this.#target,
        subsystem,
        subnqn: discovery ? this.#target.discoveryNqn : data.subnqn,
        port: this.#port,
        local: this.#local,
        hostnqn: data.hostnqn,
        hostid: data.hostid,
        cntlid,
        adminQueue: this.#queue,
      },
      sqe.kato,
    );
    this.#bind(sqe, new AdminCommands(controller));
    this.#target.controllerCreated(controller);
    request.complete(0, cntlid);
  }

  #connectIo(request: Request, sqe: ConnectSqe, data: ConnectData): void {
    const subsystem = this.#target.subsystem(data.subnqn);
    if (subsystem === undefined || !this.#leadsTo(data.subnqn)) {
      return request.complete(INVALID_PARAMETERS, inData(ConnectData.subnqn));
    }
    const controller = subsystem.controllers.get(data.cntlid);
    if (controller === undefined || controller.port !== this.#port) {
      return request.complete(INVALID_PARAMETERS, inData(ConnectData.cntlid));
    }
    if (controller.hostnqn !== data.hostnqn) return request.complete(INVALID_PARAMETERS, inData(ConnectData.hostnqn));
    if (controller.hostid !== data.hostid) return request.complete(INVALID_PARAMETERS, inData(ConnectData.hostid));
    // Not enabled yet, shut down, or in the middle of a reset.
    if (!controller.takesIoQueues) return request.complete(Status.CommandSequenceError | DNR);
    if (sqe.qid > controller.ioQueuesGranted) return request.complete(INVALID_PARAMETERS, inSqe(ConnectSqe.qid));
    if (controller.hasIoQueue(sqe.qid)) return request.complete(Status.CommandSequenceError | DNR);
    if (this.#target.hosts.refusesQueue(data.hostnqn) !== null) return request.complete(FabricsStatus.ControllerBusy);
    const hooks = this.#target.hooks;
    controller.addIoQueue(sqe.qid, this.#queue);
    this.#bind(sqe, hooks.ioCommands(this.#queue, controller, sqe.qid));
    request.complete(0, controller.cntlid);
    hooks.queueBound?.(this.#queue, controller, sqe.qid);
  }

  #leadsTo(nqn: string): boolean {
    const subsystem = this.#target.subsystem(nqn);
    return subsystem !== undefined && this.#port.subsystems.has(subsystem);
  }

  #bind(sqe: ConnectSqe, commands: CommandSet): void {
    this.#queue.bind(sqe.qid, sqe.sqsize + 1, (sqe.cattr & CATTR_DISABLE_SQFLOW) === 0, commands);
  }
}
