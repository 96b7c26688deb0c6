/* Bounds of what is read below /etc/nvme: many times what anybody has there. */

/** Bytes of one file. */
export const NVME_FILE_BYTES = 1 << 20;
/** Bytes of /etc/nvme/hostnqn and hostid. */
export const IDENTITY_FILE_BYTES = 4096;
/** Discovery controllers and paths of all files together. */
export const NVME_FILE_ENTRIES = 1024;
/** Files of nvme-fabrics.conf.d that are read. */
export const NVME_FILE_COUNT = 128;
