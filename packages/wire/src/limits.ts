/*
 * Bounds that the wire itself sets. What an implementation allows below them stands in the limits of target and host.
 */

/** Longest header of a PDU: ICReq and ICResp. */
export const HEADER_MAX = 128;
/** Bytes of the offending header in a TermReq at most (NVMe-TCP 3.6.2.3). */
export const TERM_DATA_MAX = 128;
/** Longest TermReq: its header and the offending one. */
export const TERM_PLEN_MAX = 24 + TERM_DATA_MAX;
/** Largest HPDA and CPDA, in dwords, 0's based (NVMe-TCP 3.6.2.1, 3.6.2.2). */
export const PDA_MAX = 31;
/** Smallest MAXH2CDATA that a controller may ask for, in bytes (NVMe-TCP 3.6.2.2). */
export const MAXH2CDATA_MIN = 4096;
/** Entries of a queue at most: a 0's based number of 16 bits. */
export const QUEUE_SIZE_MAX = 65536;
/** Bytes of an NVMe Qualified Name at most (Base 2.1, 4.7); its field is longer. */
export const NQN_MAX = 223;
/** Namespace identifiers of one Namespace List (Base 2.1, 4.6.2). */
export const NAMESPACE_LIST_MAX = 1024;
/** Controller identifiers of one Controller List (Base 2.1, 4.6.1). */
export const CONTROLLER_LIST_MAX = 2047;
/** Ranges of a Dataset Management command. */
export const DSM_RANGES_MAX = 256;
