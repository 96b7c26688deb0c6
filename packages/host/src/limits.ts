import { assert } from '@nvbraid/base';
import { COMMON_HEADER_SIZE, DIGEST_SIZE } from '@nvbraid/wire';

/* Every bound of the host core. */

/** Entries of a submission queue: MQES + 1 of the largest queue that nvme-cli accepts, and of the smallest. */
export const QUEUE_SIZE_MAX = 1024;
export const QUEUE_SIZE_MIN = 16;
/** The admin queue has the size that Linux gives it. */
export const ADMIN_QUEUE_SIZE = 32;
/** I/O queues of one controller. */
export const IO_QUEUES_MAX = 128;

/** R2Ts of one command that a controller may have outstanding; MAXR2T of ICReq is this minus one. */
export const R2T_MAX = 16;
export const R2T_DEFAULT = 4;
/** HPDA and CPDA: dwords minus one of data alignment (NVMe-TCP 3.6.2.1). */
export const PDA_MAX = 31;
/** MAXH2CDATA is at least this much (NVMe-TCP 3.6.2.2). */
export const MAXH2CDATA_MIN = 4096;
/** No H2CData PDU is longer, whatever the controller allows: what the kernel does not take is copied. */
export const H2C_DATA_BYTES = 1 << 20;
/** Payload that one `transmit` puts into the outbox at most, for the same reason. */
export const TRANSMIT_BYTES = 1 << 20;
/** Payload up to this size is copied next to its header instead of being referenced. */
export const COPY_PAYLOAD_BYTES = 256;
/** In-capsule data of admin and fabrics commands (NVMe-TCP 3.3.1). */
export const ADMIN_IN_CAPSULE_BYTES = 8192;
/** What the headers, padding and digests of one command can take of the outbox' arena. */
export const HEADER_BYTES_MAX = COMMON_HEADER_SIZE + 64 + DIGEST_SIZE + (PDA_MAX + 1) * 4 + DIGEST_SIZE;

/** ICResp must be there in this time. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** CSTS is read after this time while the controller becomes ready or shuts down, then after twice as long each time. */
export const CSTS_POLL_FIRST_MS = 1;
export const CSTS_POLL_MAX_MS = 128;
/** Shutdown of a controller that does not say in RTD3E how long it takes. */
export const SHUTDOWN_TIMEOUT_MS = 5_000;
/** A controller that answers nothing for so long while it is shut down is not waited for: somebody waits for us. */
export const SHUTDOWN_ANSWER_MS = 5_000;
/** The most that is waited for, whatever RTD3E says. */
export const SHUTDOWN_TIMEOUT_MAX_MS = 60_000;

/** Between two looks whether the commands of a controller that is going have ended. */
export const DRAIN_POLL_MS = 10;

/** Between two attempts to have a controller reset when the one that is asked has its limit of resets in progress. */
export const CCR_RETRY_MS = 100;

/** Namespaces of one controller that are looked at. */
export const NAMESPACES_MAX = 1024;
/** Asynchronous event requests kept outstanding, if AERL allows as many. */
export const AER_MAX = 4;
/** Transfer size of a controller without a limit of its own, and the most that is used of a larger one. */
export const TRANSFER_BYTES_MAX = 1 << 20;
/** Aborts that wait for their turn when ACL is reached; those beyond it are left to the command timeout. */
export const PENDING_ABORTS_MAX = 1024;

assert(R2T_DEFAULT <= R2T_MAX);
assert(ADMIN_QUEUE_SIZE >= AER_MAX + 8, 'the admin queue must have room beside the event requests');
