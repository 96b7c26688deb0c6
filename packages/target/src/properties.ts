import {
  CapCss,
  CapProperty,
  CcProperty,
  CrtoProperty,
  CstsProperty,
  DNR,
  Property,
  PropertySqe,
  propertyFields,
  propertyValue,
  Status,
} from '@nvbraid/wire';
import type { Controller } from './controller.ts';
import { READY_TIMEOUT_UNITS } from './limits.ts';
import type { Request } from './request.ts';

function cap(controller: Controller): bigint {
  return propertyValue(CapProperty, {
    mqes: controller.port.maxQueueSize - 1,
    cqr: 1,
    to: READY_TIMEOUT_UNITS,
    css: CapCss.Nvm | CapCss.Iocs,
    crms: 1,
  });
}

const CRTO = Number(propertyValue(CrtoProperty, { crwmt: READY_TIMEOUT_UNITS }));

/** CC.CSS: every I/O command set that the controller supports (Base 2.1, 3.1.4.5). */
export const CSS_ALL = 6;

export interface CcFields {
  readonly en: number;
  readonly css: number;
  readonly mps: number;
  readonly ams: number;
  readonly shn: number;
  readonly iosqes: number;
  readonly iocqes: number;
}

export function ccFields(cc: number): CcFields {
  return propertyFields(CcProperty, cc);
}

/** True when a controller can be enabled with these: 64-byte and 16-byte entries, 4 KiB pages, round robin. */
export function ccIsSupported(cc: CcFields, io: boolean): boolean {
  if (cc.mps !== 0 || cc.ams !== 0) return false;
  // A discovery controller has no I/O queues: entry sizes mean nothing to it, and any command set will do.
  if (!io) return true;
  return (cc.css === 0 || cc.css === CSS_ALL) && cc.iosqes === 6 && cc.iocqes === 4;
}

export function cstsValue(rdy: boolean, cfs: boolean, shst: number): number {
  return Number(propertyValue(CstsProperty, { rdy: rdy ? 1 : 0, cfs: cfs ? 1 : 0, shst }));
}

/** Property Get (Base 2.1, 6.5): the size asked for must be that of the property. Answers a status. */
export function propertyGet(controller: Controller, request: Request): number {
  const { sqeView: view, sqeBase: base } = request;
  const eight = PropertySqe.attrib.get(view, base) === 1;
  if (PropertySqe.attrib.get(view, base) > 1) return Status.InvalidField | DNR;
  const offset = PropertySqe.ofst.get(view, base);
  if (eight) {
    if (offset !== Property.CAP) return Status.InvalidField | DNR;
    const value = cap(controller);
    request.complete(0, Number(value & 0xffffffffn), Number(value >> 32n));
    return 0;
  }
  switch (offset) {
    case Property.VS:
      request.complete(0, controller.version);
      return 0;
    case Property.CC:
      request.complete(0, controller.cc);
      return 0;
    case Property.CSTS:
      request.complete(0, controller.csts);
      return 0;
    case Property.CRTO:
      request.complete(0, CRTO);
      return 0;
    default:
      return Status.InvalidField | DNR;
  }
}

/** Property Set (Base 2.1, 6.6): CC is the only property that hosts may write; there is no NVM subsystem reset. */
export function propertySet(controller: Controller, request: Request): number {
  const { sqeView: view, sqeBase: base } = request;
  if (PropertySqe.attrib.get(view, base) !== 0 || PropertySqe.ofst.get(view, base) !== Property.CC) {
    return Status.InvalidField | DNR;
  }
  // The request is done with before the write takes effect, which may end other requests and close queues.
  const cc = Number(PropertySqe.value.get(view, base) & 0xffffffffn);
  request.complete(0);
  controller.writeCc(cc);
  return 0;
}
