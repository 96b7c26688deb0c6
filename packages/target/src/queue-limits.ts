/** Bounds of one queue's connection. */

/** In-capsule data of every queue unless its port says otherwise: 8 KiB, as is fixed for admin queues. */
export const IN_CAPSULE_BYTES = 8192;
/** The most that a port can be told: in-capsule data is not asked for, so it takes payload memory unannounced. */
export const MAX_IN_CAPSULE_BYTES = 65536;
/** Payload of one H2CData PDU at most: what ICResp says in MAXH2CDATA. */
export const MAX_H2C_DATA_BYTES = 1 << 20;
/** Largest data transfer of one command: MDTS 8 with 4 KiB pages. */
export const MAX_DATA_TRANSFER_BYTES = 1 << 20;
/** The same as Identify tells it: a power of two of pages of 4 KiB. */
export const MAX_MDTS = 8;
/** Commands that may be under way before Connect has said how large the queue is. */
export const UNBOUND_QUEUE_SLOTS = 2;
/** Request objects of a queue are made in groups of this size, as they are needed. */
export const SLOTS_AT_ONCE = 16;
/** Entries of a queue: MQES + 1. */
export const MAX_QUEUE_SIZE = 1024;
/** Payload that one `transmit` puts into the outbox at most, so that a short `writev` never leaves much to copy. */
export const TRANSMIT_BYTES = 1 << 20;
/** Payload memory that the commands of one queue may hold together; the first one always gets its own. */
export const QUEUE_SLAB_BYTES = 4 << 20;
/** Alignment of data that a peer may ask for: HPDA and CPDA are dwords minus one, 0 … 31. */
export const MAX_PDA = 31;
