/** Bounds of the runtime. */

/** Reactor threads of one target. */
export const MAX_REACTORS = 64;
/** Payload memory of each thread that has I/O queues, in bytes. */
export const POOL_BYTES = 64 * 1024 * 1024;
/** Connections of one target at a time, connected queues included; beyond it a connection is reset. */
export const MAX_CONNECTIONS = 8192;
/** Descriptors that connections leave to devices, threads, logs, the control socket. */
export const RESERVED_FILES = 128;
/** Connections that a target takes at least, however few files it may open. */
export const MIN_CONNECTIONS = 16;
/** From accept until Connect has succeeded, in ms: a peer that only opens connections holds nothing for long. */
export const CONNECT_DEADLINE_MS = 10_000;
/** Connections before Connect: a host opens one queue after the other, so that a few per host are many. */
export const HALF_OPEN = 2048;
/** The same of one address, which may be that of many hosts behind a router. */
export const HALF_OPEN_PER_ADDRESS = 512;
/** Commands under way of one host in each thread: 64 queues of 128 commands. */
export const COMMANDS_PER_HOST = 8192;
/** From the first to the last byte of a PDU, in ms: a whole MiB at 35 KB/s. */
export const PDU_DEADLINE_MS = 30_000;
/** Until a peer has received what waits for it, in ms. A host whose machine is moved may be silent for seconds. */
export const SEND_DEADLINE_MS = 60_000;
/** Until the data of an R2T is there, in ms: as long as hosts wait for the whole command. */
export const R2T_DEADLINE_MS = 30_000;
/** Longest timeout that can be asked for: within what timers of 31 bits can wait. */
export const MAX_TIMEOUT_MS = 20 * 86_400_000;
/** Bounds of the time between two looks of a watchdog, in ms. */
export const MIN_LOOK_MS = 10;
export const MAX_LOOK_MS = 5_000;
/** One limit says at most once in this time that it was met, in ms. */
export const LIMIT_LOG_MS = 1_000;
/** A connection that has been told to go is reset after this long, in ms. */
export const CLOSE_DEADLINE_MS = 5_000;
/** A closing target waits this long for its hosts to hang up before it resets their connections, in ms. */
export const GOODBYE_MS = 1_000;
/** Largest file of reservations: registrants have some 90 bytes each. */
export const RESERVATION_FILE_BYTES = 1 << 20;
/** Largest file of write protection: one line. */
export const PROTECTION_FILE_BYTES = 4096;
/** A target that drains waits this long for commands that have arrived, and for hosts to hang up, in ms. */
export const DRAIN_MS = 5_000;
/** A reactor that fails within this time of its start is started again only after it, in ms. */
export const REACTOR_RESTART_MS = 1_000;
/** Entries of one registry of processes, those of dead ones included. */
export const MAX_REGISTRY_ENTRIES = 256;
/** Bytes of one entry: an NQN and some numbers. */
export const MAX_REGISTRY_ENTRY_BYTES = 4096;
/** Registering takes a millisecond: one that takes so long is stopped, in ms. And between two looks. */
export const REGISTRY_LOCK_MS = 5_000;
export const REGISTRY_RETRY_MS = 20;
/** Longest line between processes, in bytes; the names in it have 223 at most. */
export const MAX_PEER_LINE_BYTES = 4096;
/** Processes that ask at the same time; more are sent away and come again. */
export const MAX_PEER_CONNECTIONS = 64;
/** A process that connects must have said what it wants after this long, in ms. */
export const PEER_LINE_MS = 5_000;
/** Between two attempts to reach a process, or to take its lock, in ms. */
export const PEER_RETRY_MS = 100;
/** A process that does not answer is told of after this long, in ms. */
export const PEER_SILENCE_MS = 5_000;
/**
 * Work of one host in one turn of a thread that others want as well, in bytes received and sent: some 0.1 ms of copies, so
 * that a small command of another host waits about that long. Less would make the sends of busy hosts smaller than
 * what a system call is worth.
 */
export const TURN_BYTES = 256 * 1024;
/** What a command counts beside its bytes: as long as it takes could about so much be copied. */
export const COMMAND_COST_BYTES = 2048;
/** What is sent at once to a host that holds more payload memory than it may, in bytes. */
export const SMALL_SEND_BYTES = 64 * 1024;
/** Longest time until hosts that wait for tokens are looked at again, in ms. */
export const MAX_SLEEP_MS = 10;
/**
 * I/O queues go on for so long after their host is gone for certain, in ms: clocks of threads differ a little. A part of
 * CQT.
 */
export const LEASE_SLACK_MS = 50;
/** NBD connections of one server at a time. */
export const NBD_CONNECTIONS_MAX = 1024;
/** An NBD client chooses its export within this time, and gets its last replies within it when the server closes, in ms. */
export const NBD_HANDSHAKE_MS = 10_000;

/** Time between two looks at the subflows of connections, in ms, while somebody wants to hear of them. */
export const SUBFLOW_WATCH_MS = 1_000;
