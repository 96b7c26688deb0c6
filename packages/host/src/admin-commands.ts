import { Memory } from '@nvbraid/base';
import {
  AbortSqe,
  AdminOpcode,
  CATTR_DISABLE_SQFLOW,
  CONNECT_DATA_SIZE,
  ConnectData,
  ConnectSqe,
  CrossControllerResetSqe,
  FabricsType,
  FeaturesSqe,
  GetLogPageSqe,
  IDENTIFY_SIZE,
  IdentifySqe,
  PropertySqe,
} from '@nvbraid/wire';
import { HostRequest } from './host-request.ts';

/* The admin and fabrics commands that a controller sends on its own. */

export interface ConnectParameters {
  readonly subnqn: string;
  readonly hostnqn: string;
  /** UUID. */
  readonly hostid: string;
  readonly qid: number;
  /** Entries of the submission queue. */
  readonly queueSize: number;
  /** FFFFh for the admin queue asks for a new controller. */
  readonly cntlid: number;
  /** 0 on I/O queues. */
  readonly katoMs: number;
  readonly disableSqflow: boolean;
}

export function connectRequest(p: ConnectParameters): HostRequest {
  const data = Memory.alloc(CONNECT_DATA_SIZE);
  ConnectData.emit(data.view, 0, {
    hostid: p.hostid,
    cntlid: p.cntlid,
    subnqn: p.subnqn,
    hostnqn: p.hostnqn,
  });
  const request = new HostRequest().sends(data, 0, CONNECT_DATA_SIZE);
  ConnectSqe.emit(request.sqe.view, 0, {
    fctype: FabricsType.Connect,
    qid: p.qid,
    sqsize: p.queueSize - 1,
    cattr: p.disableSqflow ? CATTR_DISABLE_SQFLOW : 0,
    kato: p.katoMs,
  });
  return request;
}

/** @param size bytes of the property: 4 or 8 */
export function propertyGetRequest(offset: number, size: number): HostRequest {
  const request = new HostRequest();
  PropertySqe.emit(request.sqe.view, 0, { fctype: FabricsType.PropertyGet, attrib: size === 8 ? 1 : 0, ofst: offset });
  return request;
}

export function propertySetRequest(offset: number, value: bigint): HostRequest {
  const request = new HostRequest();
  PropertySqe.emit(request.sqe.view, 0, { fctype: FabricsType.PropertySet, attrib: 0, ofst: offset, value });
  return request;
}

/** Answers the 4096 bytes of an Identify data structure in `request.memory`. */
export function identifyRequest(cns: number, nsid = 0, fields: Partial<IdentifySqe> = {}): HostRequest {
  const request = new HostRequest().receives(Memory.alloc(IDENTIFY_SIZE), 0, IDENTIFY_SIZE);
  IdentifySqe.emit(request.sqe.view, 0, { ...fields, opc: AdminOpcode.Identify, nsid, cns });
  request.exact = true;
  return request;
}

/** @param length bytes, a multiple of 4 */
export function getLogPageRequest(lid: number, length: number, fields: Partial<GetLogPageSqe> = {}): HostRequest {
  const request = new HostRequest().receives(Memory.alloc(length), 0, length);
  GetLogPageSqe.emit(request.sqe.view, 0, { ...fields, opc: AdminOpcode.GetLogPage, lid, numd: length / 4 - 1 });
  request.exact = true;
  return request;
}

export function setFeaturesRequest(fid: number, dw11: number): HostRequest {
  const request = new HostRequest();
  FeaturesSqe.emit(request.sqe.view, 0, { opc: AdminOpcode.SetFeatures, fid, dw11 });
  return request;
}

export function abortRequest(qid: number, cid: number): HostRequest {
  const request = new HostRequest();
  AbortSqe.emit(request.sqe.view, 0, { opc: AdminOpcode.Abort, sqid: qid, abortCid: cid });
  return request;
}

/** One life of a controller, as Identify Controller tells it (Base 2.3): what a Cross-Controller Reset names. */
export interface ControllerInstance {
  readonly cntlid: number;
  readonly ciu: number;
  readonly cirn: bigint;
}

/** Asks a controller to end another one of its subsystem; dword 0 of the completion: `CrossControllerResetResult`. */
export function crossControllerResetRequest({ cntlid, ciu, cirn }: ControllerInstance): HostRequest {
  const request = new HostRequest();
  CrossControllerResetSqe.emit(request.sqe.view, 0, { opc: AdminOpcode.CrossControllerReset, icid: cntlid, ciu, cirn });
  return request;
}

export function keepAliveRequest(): HostRequest {
  return new HostRequest().reset(AdminOpcode.KeepAlive);
}

export function asyncEventRequest(): HostRequest {
  const request = new HostRequest().reset(AdminOpcode.AsyncEventRequest);
  request.noTimeout = true;
  return request;
}
