/** Bounds of the control socket, both ends. */
export const limits = {
  /**
   * Longest line, a request or a response, in bytes: the configuration of a target with forty thousand namespaces. It is
   * the owner of the process who can make it hold so much, for each of `clients`.
   */
  lineBytes: 16 * 1024 * 1024,
  /** Data that one request or response may carry, in bytes before base64. */
  dataBytes: 1024 * 1024,
  clients: 32,
  /** A client that neither sends a whole request nor takes its response for this long is dropped. */
  clientIdleMs: 30_000,
  /** What `call` waits for a response unless told otherwise. */
  callTimeoutMs: 60_000,
  /** What a probe of a socket waits for: is anybody there? */
  probeTimeoutMs: 2_000,
  /** Longest path of a unix socket (sun_path without its final zero). */
  pathBytes: 107,
} as const;
