/** Bounds of a configuration. Those of subsystems, ports, namespaces and links are the target's. */

/** Objects under /hosts: four times what one subsystem can list. */
export const MAX_HOSTS = 4096;
/** Referrals of one port: each is an entry of 1 KiB in its discovery log. */
export const MAX_REFERRALS = 256;
/** Bytes of a configuration file: more than the target's bounds can fill with ordinary names. */
export const MAX_CONFIG_BYTES = 64 * 1024 * 1024;
