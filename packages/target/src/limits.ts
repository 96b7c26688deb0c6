/*
 * Bounds of the control plane. Those of a single queue stand in queue-limits.ts.
 */

/** Subsystems of one target. */
export const MAX_SUBSYSTEMS = 1024;
/** Ports of one target: portid is 1 … 65535. */
export const MAX_PORTS = 1024;
/** Links between ports and subsystems of one target: entries of a discovery log, 1 KiB each. */
export const MAX_LINKS = 4096;
/** Namespaces of a subsystem; nsid is 1 … this. Identify Controller's NN and MNAN. */
export const MAX_NAMESPACES = 1024;
/** Hosts that one subsystem can list by name. */
export const MAX_ALLOWED_HOSTS = 1024;
/** Hosts that one namespace can be shown to by name: the list is posted to every reactor with each change. */
export const MAX_NAMESPACE_HOSTS = 256;
/** Referrals of one port: entries of a discovery log, 1 KiB each. */
export const MAX_REFERRALS = 64;
/** The smallest bound of queue entries that a port can be given, as in Linux. */
export const MIN_QUEUE_SIZE = 16;
/** Controllers of one subsystem at a time. */
export const MAX_CONTROLLERS = 1024;
/** Controllers of a target, discovery controllers included: what anybody who can reach a port can make us remember. */
export const MAX_TARGET_CONTROLLERS = 4096;
/** Hosts, by NQN, that have controllers at a time, unless the target is told another number. */
export const MAX_HOSTS = 1024;
/** Controllers of one host: a host with 32 paths to 16 subsystems has 512. */
export const MAX_CONTROLLERS_PER_HOST = 1024;
/** I/O queues of one host: 128 of each of 16 controllers. */
export const MAX_QUEUES_PER_HOST = 2048;
/** Smallest and largest identifier of a controller (Base 2.1, 6.3: FFF0h and up are reserved). */
export const MIN_CNTLID = 1;
export const MAX_CNTLID = 0xffef;
/** I/O queues of a controller; qid is 1 … this. */
export const MAX_IO_QUEUES = 128;
/** Bytes of a qualified name (Base 2.1, 4.7). */
export const MAX_NQN_BYTES = 223;
/** Asynchronous Event Requests under way on a controller: AERL + 1. */
export const MAX_ASYNC_EVENT_REQUESTS = 4;
/** Abort commands under way: ACL + 1. They end at once, so that the limit is never met. */
export const MAX_ABORTS = 4;
/** Entries of the error log: ELPE + 1. */
export const ERROR_LOG_ENTRIES = 128;
/** Bytes of one piece in which Compare, Verify and Copy move data; at least a block of any size. */
export const PIECE_BYTES = 128 * 1024;
/** Pieces of a thread: commands beyond that wait. */
export const MAX_PIECES = 4;
/** MSRC + 1: source ranges of a Copy command. */
export const COPY_RANGES = 128;
/** MSSRL: bytes of one source range of a Copy command. */
export const COPY_RANGE_BYTES = 1 << 20;
/**
 * MCL and VSL: bytes of all source ranges of a Copy command together, and of a Verify command. A device in memory moves
 * them in one turn of its thread's event loop.
 */
export const COPY_BYTES = 4 << 20;
/** VSL, WUSL: the same as powers of two of 4 KiB. */
export const VERIFY_LIMIT = 10;
/** WUSL: bytes of one Write Uncorrectable command, 1 MiB, as a power of two of 4 KiB. */
export const WRITE_UNCORRECTABLE_LIMIT = 8;
/** ACWU + 1: blocks of a fused Compare and Write. One block is what is whole towards everything else, as for Write. */
export const COMPARE_AND_WRITE_BLOCKS = 1;
/** Bytes that Get LBA Status returns at once: a device is asked for that many ranges while others wait. */
export const LBA_STATUS_BYTES = 16 * 1024;
/** Ranges in an LBA Status Information log page; of namespaces beyond that it only says that there are some. */
export const LBA_STATUS_LOG_RANGES = 1024;
/** LSIRI, in ms: a host that marks many blocks, or loses a disk, is told once. */
export const LBA_STATUS_REPORT_MS = 10_000;
/** While there is nothing to report we look again after this long, in ms, or after the report interval if longer. */
export const LBA_STATUS_LOOK_MS = 1_000;
/** ANA groups: ANAGRPMAX and NANAGRPID. */
export const MAX_ANA_GROUPS = 128;
/** ANATT: seconds that a group stays in the change state at most. */
export const ANA_TRANSITION_SECONDS = 10;
/** Granularity of the Keep Alive Timeout in units of 100 ms: KAS. */
export const KEEP_ALIVE_GRANULARITY = 1;
/** Longest Keep Alive Timeout: 20 days, within what timers of 31 bits can wait. */
export const MAX_KEEP_ALIVE_MS = 20 * 86_400_000;
/** A discovery controller without Keep Alive is gone after this long without a command (Base 2.1, 3.1.3.3). */
export const DISCOVERY_IDLE_MS = 120_000;
/** A controller that is not enabled, or is shut down, is gone after this long without an admin command. */
export const DISABLED_IDLE_MS = 120_000;
/** CAP.TO and CRTO.CRWMT: units of 500 ms within which CSTS.RDY follows CC.EN. */
export const READY_TIMEOUT_UNITS = 15;
/** Entries of an admin queue that a discovery log entry names. */
export const ADMIN_QUEUE_ENTRIES = 32;
/** Bytes of serial number, model number and firmware revision in Identify. */
export const SERIAL_BYTES = 20;
export const MODEL_BYTES = 40;
export const FIRMWARE_BYTES = 8;
/** Firmware revision of subsystems that are not told another. */
export const DEFAULT_FIRMWARE = '0.1.0';
/** Bytes of a transport address in a discovery log entry, and of a service id. */
export const TRADDR_BYTES = 256;
export const TRSVCID_BYTES = 32;
/** Composite temperature in Kelvin: there is no sensor, the value is constant. */
export const TEMPERATURE_KELVIN = 298;
/** WCTEMP and CCTEMP in Kelvin: must not be zero since NVMe 1.2. */
export const WARNING_TEMPERATURE_KELVIN = 343;
export const CRITICAL_TEMPERATURE_KELVIN = 373;
/** Hosts that can register with one namespace: a peer can make up host identifiers. As many as there are controllers. */
export const MAX_REGISTRANTS = 1024;
/** Reservation notifications that a controller keeps for its host; the oldest goes first. The page counts to 255. */
export const MAX_RESERVATION_NOTIFICATIONS = 256;
/** From the end of an association until every thread has heard of it: a message, and the longest turn of a thread. */
const CQT_THREAD_MS = 100;
/** What a device may take for the one operation that it was given: a disk that is loaded, not one that hangs. */
const CQT_DEVICE_MS = 5_000;
/** CQT of subsystems that are not told another, in ms. */
export const DEFAULT_CQT_MS = CQT_THREAD_MS + CQT_DEVICE_MS;
/** CQT has 16 bits. */
export const MAX_CQT_MS = 0xffff;
/** Commands that are under way beyond CQT are told of again after this long, in ms. */
export const OVERDUE_REPEAT_MS = 60_000;
/** CCRL: Cross-Controller Resets of one controller in progress at a time. */
export const CCR_LIMIT = 4;
/** Entries of the Cross-Controller Reset log: a page of 4 KiB. */
export const CCR_LOG_ENTRIES = 511;
/**
 * A Cross-Controller Reset that takes longer is answered before it is over, in ms: a controller without a command in a
 * slow device is quiet long before, and the host is spared an event and a log page.
 */
export const CCR_PATIENCE_MS = 100;
/** Protocol faults that are in force at a time. */
export const MAX_FAULTS = 64;
/** Longest delay of a PDU and interval of a fault, in ms; hosts give up long before. */
export const MAX_FAULT_MS = 3_600_000;
/** What a queue under faults holds back, both directions together, in bytes; beyond it the queue is closed. */
export const MAX_FAULT_HELD_BYTES = 64 * 1024 * 1024;
/** Longest PDU that a fault looks at, in bytes: MAXH2CDATA and the largest transfer are below. */
export const MAX_FAULT_PDU_BYTES = 4 * 1024 * 1024;
/** Controllers that one fault of the control plane reaches in a turn: a storm must not hold up the thread. */
export const MAX_STORM_CONTROLLERS = 1024;
