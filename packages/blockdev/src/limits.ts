/** Every bound of this package. */

/** Block sizes are powers of two in this range, in bytes. */
export const MIN_BLOCK_SIZE = 512;
export const MAX_BLOCK_SIZE = 65536;

/** Devices end here: byte offsets stay exact numbers. */
export const MAX_DEVICE_BYTES = Number.MAX_SAFE_INTEGER;

/** Longest Read or Write in bytes; the target's MDTS is far below. Zeroing has no such bound: it runs in pieces. */
export const MAX_TRANSFER_BYTES = 64 * 1024 * 1024;

/** Longest CompareAndWrite in bytes: a block of any size. */
export const MAX_COMPARE_BYTES = MAX_BLOCK_SIZE;

/**
 * Ranges of blocks that are marked uncorrectable, counted as those into which writes can take them apart: every second
 * block. The list is saved as a whole, so it must stay short.
 */
export const MAX_MARKS = 8192;

/** A stripe lock covers this many bytes, or one block if blocks are larger: the size of a page. */
export const STRIPE_BYTES = 4096;
/** Most words in a table of stripe locks (256 KiB); devices of more stripes share words. A power of two. */
export const MAX_STRIPES = 65536;

/** Bytes of memory read under one look at the sequence numbers; the more, the likelier a repeat. */
export const SHARED_READ_BYTES = 64 * 1024;
/** Optimistic reads before a reader locks the writers out. */
export const OPTIMISTIC_READS = 4;
/** Looks at a locked stripe before the thread sleeps (memory) or turns to other work (file). */
export const LOCK_SPINS = 200;
/** Sleeps of 1 ms until a stripe counts as abandoned by a thread that died, and the operation fails. */
export const LOCK_SLEEPS = 10_000;

/** Waiting operations that are looked at in one go; those behind wait their turn, in order. */
export const WAIT_SCAN = 64;
/** Between two looks at stripes that another thread holds, in ms. */
export const WAIT_RETRY_MS = 1;
/** Looks until the stripes count as abandoned (30 s and more), and the operation fails. */
export const WAIT_RETRIES = 30_000;

/** Writes of a file longer than this run on the thread pool, in bytes: copying them would hold up the thread. */
export const ASYNC_WRITE_BYTES = 256 * 1024;
/** One step of zeroing where the file system does it, and where zeroes are written, in bytes. */
export const ZERO_STEP_BYTES = 32 * 1024 * 1024;
export const ZERO_WRITE_BYTES = 256 * 1024;
/** fallocate calls of a thread on the pool at a time, so that reads find a pool thread. */
export const MAX_FALLOCATES = 2;
/** Threads of Node's pool unless UV_THREADPOOL_SIZE says another number, and the most that it may say. */
export const POOL_THREADS = 4;
export const MAX_POOL_THREADS = 1024;
/**
 * Calls that an owner may have on the pool, for each thread of it, while it is alone. They are told and followed by others
 * once in a turn of the event loop, which takes up to a millisecond where hosts are busy: 2,048 cold reads of 4 KiB at a time
 * went half as fast as without a bound with 6 calls on a pool of 4, and two thirds to four fifths as fast with 64. With
 * several owners there are 6, since a read of one waits behind all of these.
 */
export const CALLS_PER_POOL_THREAD = 16;
/** An owner counts as alone after so many calls with none of others in between. */
export const TOGETHER_CALLS = 1024;
/** What a call on the pool counts beside the bytes that it moves: as long as it waits for a disk could so much be read. */
export const POOL_CALL_BYTES = 64 * 1024;

/** Bytes that a thread zeroes in memory in one turn of its event loop: about as long as one large transfer takes. */
export const ZERO_TURN_BYTES = 4 * 1024 * 1024;
/** Of these, bytes of one operation before the next one has its share; a multiple of every block size. */
export const ZERO_SLICE_BYTES = 512 * 1024;

/** Kinds of failures that a device puts into the log, each once. */
export const MAX_LOGGED_FAILURES = 32;

/** Blocks that a volatile cache holds; beyond it writes some back. */
export const VOLATILE_CACHE_BLOCKS = 65536;
/** Longest write of a volatile cache to the device below, in bytes. */
export const WRITE_BACK_BYTES = 128 * 1024;

/** Settings of one filter as JSON, in bytes: a path of 1024 characters, all of them escaped, is the longest. */
export const SETTINGS_BYTES = 16384;
/** Characters of a delay: a table of percentiles. */
export const DELAY_CHARS = 256;
/** Filters on one device. */
export const MAX_FILTERS = 16;
/** Threads that keep statistics of their own, the main thread included; those beyond share the last place. */
export const MAX_FILTER_THREADS = 65;
/** Between two looks of a filter at what it holds up, in ms: how soon a release is seen. */
export const HELD_LOOK_MS = 5;
/** Longest delay of an operation, in ms; hosts give up long before. */
export const MAX_DELAY_MS = 3_600_000;
/** Lines of a log that wait to be written, in bytes, and how long they wait at most, in ms. */
export const LOG_BUFFER_BYTES = 64 * 1024;
export const LOG_DELAY_MS = 50;
/** Blocks of which a corrupting filter remembers older contents, per thread. */
export const REMEMBERED_BLOCKS = 256;
/** One step of a commit of an overlay, in bytes: I/O to these waits meanwhile. */
export const COMMIT_STEP_BYTES = 1024 * 1024;
/** Blocks of a device under an overlay: its map has one bit for each (256 MiB). */
export const MAX_OVERLAY_BLOCKS = 2 ** 31;
/** Seconds after which who writes an overlay's map counts as dead. */
export const MAP_LOCK_SECONDS = 60;
/** One piece of an overlay's map as it is written to its file, in bytes. */
export const MAP_PAGE_BYTES = 4096;

/** Zones of a device: a report or a flush looks at each of them. */
export const MAX_ZONES = 65536;
/** Blocks of a zone: a write pointer is a word of 32 bits. */
export const MAX_ZONE_BLOCKS = 2 ** 30;
/** Looks at a zone that another thread writes to before the operation gets in line. */
export const ZONE_SPINS = 1000;
/** Looks after which a thread does not wait any longer for one whose turn it is: that one may have died. */
export const ZONE_PATIENCE = 50;
