import { DNR, FabricsType, Sqe, Status } from '@nvbraid/wire';
import type { Controller } from './controller.ts';
import { propertyGet, propertySet } from './properties.ts';
import type { CommandSet, Request } from './request.ts';

/** The admin queue of a controller: fabrics commands, and the commands in its kind's table. */
export class AdminCommands implements CommandSet {
  readonly controller: Controller;

  constructor(controller: Controller) {
    this.controller = controller;
  }

  admit(request: Request): number {
    this.controller.touch();
    const status = this.#admit(request);
    if (status !== 0) this.#record(request, status);
    return status;
  }

  execute(request: Request): void {
    const status = this.#execute(request);
    if (status === 0) return;
    this.#record(request, status);
    request.complete(status);
  }

  closed(): void {
    this.controller.remove('connection closed');
  }

  #admit(request: Request): number {
    const controller = this.controller;
    if (controller.state === 'gone') return Status.CommandSequenceError | DNR;
    if (request.fabrics) {
      request.dataLength = 0;
      switch (request.opcode) {
        case FabricsType.PropertyGet:
        case FabricsType.PropertySet:
          return 0;
        case FabricsType.Connect: // a queue is connected once
          return Status.CommandSequenceError | DNR;
        default: // Disconnect (OFCS bit 0 is 0) and authentication are not supported
          return Status.InvalidOpcode | DNR;
      }
    }
    const command = controller.kind.commands.get(request.opcode);
    if (command === undefined) return Status.InvalidOpcode | DNR;
    if (!controller.enabled) return Status.CommandSequenceError | DNR;
    if (command.admit !== undefined) return command.admit(controller, request);
    request.dataLength = 0;
    return 0;
  }

  #execute(request: Request): number {
    const controller = this.controller;
    if (request.fabrics) {
      return request.opcode === FabricsType.PropertyGet
        ? propertyGet(controller, request)
        : propertySet(controller, request);
    }
    return controller.kind.commands.get(request.opcode)!.run(controller, request);
  }

  #record(request: Request, status: number): void {
    this.controller.errors.record({
      qid: 0,
      cid: request.cid,
      status,
      opcode: request.fabrics ? 0x7f : request.opcode,
      nsid: request.fabrics ? 0 : Sqe.nsid.get(request.sqeView, request.sqeBase),
    });
  }
}
