/** Bounds of the runtime. */

/** Reactor threads of one target. */
export const MAX_REACTORS = 64;
/** Payload memory of each thread that has I/O queues, in bytes. */
export const POOL_BYTES = 64 * 1024 * 1024;
/** Connections of one target at a time, connected queues included; beyond it a connection is reset. */
export const MAX_CONNECTIONS = 8192;
/** From accept until Connect has succeeded, in ms: a peer that only opens connections holds nothing for long. */
export const CONNECT_DEADLINE_MS = 10_000;
/** A connection that has been told to go is reset after this long, in ms. */
export const CLOSE_DEADLINE_MS = 5_000;
/** A closing target waits this long for its hosts to hang up before it resets their connections, in ms. */
export const GOODBYE_MS = 1_000;
/** A reactor that fails within this time of its start is started again only after it, in ms. */
export const REACTOR_RESTART_MS = 1_000;
