/** Every bound of this package. */

/** Payload of one request in bytes: what clients may use that were not told another bound (NBD, "Size constraints"). */
export const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;
/** What clients are told to prefer, in bytes, where the block size is not larger. */
export const PREFERRED_BYTES = 4096;
/** Requests under way on one connection. The client waits beyond it. */
export const MAX_REQUESTS = 512;
/** Payload memory that the requests of one connection hold together; the first one always gets its own. */
export const SESSION_SLAB_BYTES = 64 * 1024 * 1024;
/** Data of an option; longer ones are read past and refused. */
export const MAX_OPTION_BYTES = 8192;
/** Options that a client may send before it chooses an export: more is not a negotiation. */
export const MAX_OPTIONS = 1024;
/** Name of an export in bytes (NBD: 4096 at most). */
export const MAX_NAME_BYTES = 4096;
/** Descriptors of one Block Status reply. */
export const MAX_EXTENTS = 1024;
/** Exports of one server. */
export const MAX_EXPORTS = 4096;
