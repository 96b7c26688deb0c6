/** Every bound of the package in one place. Sizes in bytes, times in milliseconds. */

/** The static receive buffer of a thread: the most that one `recv` takes. */
export const RECEIVE_BYTES = 256 * 1024;

/** From this many expected bytes on they are received straight to their destination; below, a copy costs less. */
export const DIRECT_FROM_BYTES = 4 * 1024;

/** Most segments of one system call (IOV_MAX of Linux). */
export const IOV_MAX = 1024;

/** Most bytes one system call is asked to move, so that its result always fits a 32-bit signed number. */
export const IO_MAX_BYTES = 0x40000000;

/** Events taken by one `epoll_wait`. */
export const EVENTS_MAX = 128;

/** Batches that a dedicated loop runs before Node's own event loop gets a turn. */
export const DEDICATED_ROUNDS = 256;

/** Longest wait of a dedicated loop inside one system call, and so the delay of its thread's timers. */
export const DEDICATED_WAIT_MS = 100;

/** The same while asynchronous work is pending, should its completion not show in the descriptor of Node's loop. */
export const PENDING_WAIT_MS = 2;

/** The same for a loop that is attached in a worker thread. */
export const ATTACHED_WAIT_MS = 10;

/** Connections accepted per readiness event. */
export const ACCEPT_MAX = 64;

/** Pause after the system refused a new descriptor. */
export const ACCEPT_RETRY_MS = 100;

/** Waiting connections of a listener when the caller does not say. */
export const BACKLOG_DEFAULT = 128;

export const CONNECT_TIMEOUT_MS = 10_000;

/** How long an ended connection may take to send what it kept and to see the peer's end. */
export const END_TIMEOUT_MS = 5_000;

/** Unit in which unsent bytes are kept. */
export const CHUNK_BYTES = 64 * 1024;

/** Free chunks a thread keeps for the next backlog. */
export const CHUNKS_KEPT = 128;

/** Bytes under way in one direction of an in-memory link before `send` has to keep them. */
export const LOOP_WINDOW_BYTES = 256 * 1024;

/** What one write of the `net` row gathers before a buffer of its own is made. */
export const NET_SEND_BYTES = 256 * 1024;

/** How often the first segment is sent again, as Linux's host has it: a path that does not answer is given up after 3 s. */
export const SYN_COUNT = 1;

/** Path of a unix socket: sun_path less its final zero byte. */
export const UNIX_PATH_BYTES = 107;

/** Subflows of one connection that are told of: more than the kernel's path manager makes. */
export const SUBFLOWS_MAX = 64;
