/** Bounds of a configuration. Those of subsystems, ports, namespaces and links are the target's. */

/** Objects under /hosts: four times what one subsystem can list. */
export const MAX_HOSTS = 4096;
/** Bytes of a configuration: some thirty thousand namespaces, and as text in JSON still a line of the control socket. */
export const MAX_CONFIG_BYTES = 12 * 1024 * 1024;
