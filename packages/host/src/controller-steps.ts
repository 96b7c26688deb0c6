import { NEVER, NvbraidError } from '@nvbraid/base';
import {
  CapCss,
  CapProperty,
  CcProperty,
  Cns,
  CONNECT_DATA_SIZE,
  CrtoProperty,
  CstsProperty,
  FabricsStatus,
  Fid,
  IdentifyController,
  NumberOfQueuesFeature,
  nvmeVersion,
  Property,
  propertyFields,
  propertyValue,
  Shn,
  Shst,
  SQE_SIZE,
} from '@nvbraid/wire';
import type { AdminChannel } from './admin-channel.ts';
import {
  type ConnectParameters,
  connectRequest,
  identifyRequest,
  propertyGetRequest,
  propertySetRequest,
  setFeaturesRequest,
} from './admin-commands.ts';
import type { HostQueue } from './host-queue.ts';
import {
  CSTS_POLL_FIRST_MS,
  CSTS_POLL_MAX_MS,
  SHUTDOWN_TIMEOUT_MAX_MS,
  SHUTDOWN_TIMEOUT_MS,
  TRANSFER_BYTES_MAX,
} from './limits.ts';
import { NvmeError } from './nvme-error.ts';
import type { Steps } from './task.ts';

/* The steps by which a controller comes to life and goes, in the order of Base 2.1, 3.5.1 and 3.6.2. */

/** Sends Connect on a queue whose handshake is done; answers the cntlid. */
export function* connectQueue(admin: AdminChannel, queue: HostQueue, parameters: ConnectParameters): Steps<number> {
  const what = `Connect to ${parameters.subnqn} (qid ${parameters.qid})`;
  const request = yield* admin.run(connectRequest(parameters), what, queue);
  if (request.status !== 0) {
    throw new NvmeError(what + invalidParameter(request.status, request.dw0), request.status, true);
  }
  if (request.dw0 >>> 16 !== 0) {
    throw new NvbraidError('ENOTSUP', `${what}: the controller requires authentication`);
  }
  return request.dw0 & 0xffff;
}

/** Where the controller found the wrong parameter: IATTR and IPO of the completion (Base 2.1, 6.3). */
function invalidParameter(status: number, dw0: number): string {
  if ((status & 0x7ff) !== FabricsStatus.ConnectInvalidParameters) return '';
  const inData = ((dw0 >>> 16) & 1) === 1;
  const ipo = dw0 & 0xffff;
  if (ipo >= (inData ? CONNECT_DATA_SIZE : SQE_SIZE)) return '';
  return `, byte ${ipo} of the ${inData ? 'Connect data' : 'submission queue entry'}`;
}

/** What the properties of a controller say. */
export interface ControllerCapabilities {
  readonly cap: CapProperty;
  /** As in `nvmeVersion`. */
  readonly vs: number;
  readonly readyTimeoutMs: number;
}

export function* readCapabilities(admin: AdminChannel): Steps<ControllerCapabilities> {
  const cap = yield* admin.mustRun(propertyGetRequest(Property.CAP, 8), 'Property Get CAP');
  const value = (BigInt(cap.dw1) << 32n) | BigInt(cap.dw0);
  const fields = propertyFields(CapProperty, value);
  const vs = yield* admin.mustRun(propertyGetRequest(Property.VS, 4), 'Property Get VS');
  let readyUnits = fields.to;
  if ((fields.crms & 1) !== 0) {
    const crto = yield* admin.mustRun(propertyGetRequest(Property.CRTO, 4), 'Property Get CRTO');
    readyUnits = Math.max(readyUnits, propertyFields(CrtoProperty, crto.dw0).crwmt);
  }
  return { cap: fields, vs: vs.dw0, readyTimeoutMs: Math.max(1, readyUnits) * 500 };
}

/** Sets CC.EN and waits for CSTS.RDY. */
export function* enable(admin: AdminChannel, { cap, readyTimeoutMs }: ControllerCapabilities): Steps {
  const cc = configuration(cap, Shn.None);
  yield* admin.mustRun(propertySetRequest(Property.CC, cc), 'Property Set CC (enable)');
  const ready = yield* pollStatus(admin, readyTimeoutMs, (csts) => {
    if (csts.cfs === 1) admin.fail('controller fatal status while it was being enabled');
    return csts.rdy === 1;
  });
  if (!ready) throw new NvbraidError('ETIMEDOUT', `the controller is not ready after ${readyTimeoutMs} ms`);
}

/** Reads CSTS until `reached`; false when that takes longer than `timeoutMs`. */
function* pollStatus(admin: AdminChannel, timeoutMs: number, reached: (csts: CstsProperty) => boolean): Steps<boolean> {
  const until = admin.clock.nowMs() + timeoutMs;
  for (let waitMs = CSTS_POLL_FIRST_MS; ; waitMs = Math.min(2 * waitMs, CSTS_POLL_MAX_MS)) {
    const csts = yield* admin.mustRun(propertyGetRequest(Property.CSTS, 4), 'Property Get CSTS');
    if (reached(propertyFields(CstsProperty, csts.dw0))) return true;
    if (admin.clock.nowMs() >= until) return false;
    yield* admin.sleep(waitMs);
  }
}

/** The value of CC for an enabled controller. */
function configuration(cap: CapProperty, shn: number): bigint {
  // All command sets where there are several: zoned namespaces are not there otherwise.
  let css = 0;
  if ((cap.css & CapCss.Iocs) !== 0) css = 6;
  else if ((cap.css & CapCss.Nvm) === 0 && (cap.css & CapCss.NoIo) !== 0) css = 7;
  return propertyValue(CcProperty, { en: 1, css, mps: cap.mpsmin, shn, iosqes: 6, iocqes: 4 });
}

/** Tells the controller that the host goes, and waits until it has finished: normal shutdown. */
export function* shutDown(admin: AdminChannel, cap: CapProperty, rtd3eUs: number): Steps {
  const cc = configuration(cap, Shn.Normal);
  yield* admin.mustRun(propertySetRequest(Property.CC, cc), 'Property Set CC (shutdown)');
  const timeoutMs = Math.min(Math.max(rtd3eUs / 1000, SHUTDOWN_TIMEOUT_MS), SHUTDOWN_TIMEOUT_MAX_MS);
  yield* pollStatus(admin, timeoutMs, (csts) => csts.shst === Shst.Complete);
}

export function* identifyController(
  admin: AdminChannel,
): Steps<{ readonly identify: IdentifyController; readonly raw: Uint8Array }> {
  const request = yield* admin.mustRun(identifyRequest(Cns.Controller), 'Identify Controller');
  return { identify: IdentifyController.parse(request.memory.view, 0), raw: request.memory.bytes };
}

/** Bytes that one command can move. */
export function maxTransferBytes(mdts: number, mpsmin: number): number {
  const bytes = mdts === 0 ? NEVER : 2 ** (12 + mpsmin + mdts);
  return Math.min(bytes, TRANSFER_BYTES_MAX);
}

/** Asks for I/O queues; answers how many there may be, 0 when the controller refuses. */
export function* negotiateQueues(admin: AdminChannel, wanted: number): Steps<number> {
  const ask = wanted - 1;
  const what = 'Set Features (Number of Queues)';
  const request = yield* admin.run(setFeaturesRequest(Fid.NumberOfQueues, (ask | (ask << 16)) >>> 0), what);
  if (request.status !== 0) return 0;
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, request.dw0, true);
  const { nsq, ncq } = NumberOfQueuesFeature.parse(view, 0);
  return Math.min(nsq, ncq, ask) + 1;
}

/** Namespace descriptors exist from version 1.3 on. */
export const DESCRIPTORS_SINCE = nvmeVersion(1, 3);
