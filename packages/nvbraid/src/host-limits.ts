/* Bounds and defaults of the host side of the runtime. */

/** A connection whose queue is done is given this long to close in order. */
export const LINGER_MS = 1_000;
/** Longest wait of one timer of the system. */
export const TIMER_MS_MAX = 0x7fffffff;
/** How often a command that failed for a passing reason is sent again. As Linux: nvme_core.max_retries. */
export const MAX_RETRIES = 5;
/** Blocks of one command: NLB has 16 bits, 0's based. */
export const BLOCKS_MAX = 65536;
/** Objects for commands that are kept for the next ones. */
export const POOLED_OPERATIONS = 4096;
/** Entries of a discovery log that are read, and attempts to read it while it keeps changing. */
export const DISCOVERY_RECORDS_MAX = 16384;
export const DISCOVERY_ATTEMPTS = 10;
/** Zones that one report asks for. */
export const ZONE_REPORT_ZONES = 1023;
/** Bytes of a log page read by one command. */
export const LOG_PAGE_CHUNK_BYTES = 4096;
/** What is under way when a user disconnects may take this long to end by itself. */
export const DISCONNECT_DRAIN_MS = 5_000;
/** Bytes that a question for allocated blocks lets a controller answer: 255 ranges. */
export const ALLOCATION_QUERY_BYTES = 4088;
/**
 * An NBD server that closes waits so long for what is under way, and for its last Flush, in ms: a namespace without a path
 * would keep it for ever.
 */
export const NBD_FLUSH_MS = 10_000;
/** Referrals from one discovery service to the next that are followed, and services that are asked in all. */
export const REFERRAL_DEPTH_MAX = 8;
export const DISCOVERY_SERVICES_MAX = 64;
/** Discovery services that are asked at the same time. */
export const DISCOVERY_AT_ONCE = 8;
/** A discovery service that is referred to is given up after this long, in ms: the others must not wait for it. */
export const DISCOVERY_TIMEOUT_MS = 30_000;
/** Keep Alive Timeout of a lasting connection to a discovery controller, in seconds, as Linux has it. */
export const DISCOVERY_KEEP_ALIVE_SECS = 30;
/** A log that could not be read is read again after this long, in ms. */
export const DISCOVERY_RETRY_MS = 1_000;
/** Paths that `connectAll` keeps, and those that it connects at the same time. */
export const CONNECT_ALL_PATHS_MAX = 1024;
export const CONNECT_ALL_AT_ONCE = 16;
/** Sentences of head threads that are kept until somebody listens. */
export const HEAD_UNHEARD_MAX = 64;
/** Threads that the namespaces of a subsystem may be spread over. */
export const HEAD_THREADS_MAX = 64;
/** Pause before a head thread that died is started again, in ms; doubled each time that this does not help. */
export const HEAD_RESTART_MS = 500;
export const HEAD_RESTART_MS_MAX = 30_000;
