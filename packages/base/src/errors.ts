/**
 * Operational errors: refused, timed out, wrong configuration. Each has a registered code, says whether the same call
 * may succeed later, and carries the facts a person needs to act.
 */
export const ERROR_CODES = {
  EADDRINUSE: { retryable: false },
  EACCES: { retryable: false },
  ENOENT: { retryable: false },
  EINVAL: { retryable: false },
  /** There is an object of this name. */
  EEXIST: { retryable: false },
  /** What is to be deleted has something in it. */
  ENOTEMPTY: { retryable: false },
  ENOTSUP: { retryable: false },
  EIO: { retryable: false },
  /** The object is being removed. */
  ENXIO: { retryable: false },
  /** This kind of device has no such control request. */
  ENOTTY: { retryable: false },
  /** The control request is not allowed here; a more general handler may know it. */
  ENOIOCTLCMD: { retryable: false },
  /** The device lacks this operation. */
  EOPNOTSUPP: { retryable: false },
  /** No path can take the request now. */
  EWOULDBLOCK: { retryable: true },
  EBUSY: { retryable: true },
  ECONNREFUSED: { retryable: true },
  ECONNRESET: { retryable: true },
  EHOSTUNREACH: { retryable: true },
  ETIMEDOUT: { retryable: true },
  /** The local side closed the object on purpose. */
  ESHUTDOWN: { retryable: false },
  /** The caller's AbortSignal fired. */
  EABORTED: { retryable: false },
  /** The peer broke the protocol, or says that we did. */
  EPROTO: { retryable: true },
  /** The controller answered a command with an error status. */
  ENVME: { retryable: false },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorOptions2 {
  cause?: unknown;
  /** Facts for a person or a log: address, path, queue id. */
  context?: Readonly<Record<string, string | number | boolean>>;
  /** Overrides the code's default. */
  retryable?: boolean;
}

export class NvbraidError extends Error {
  override name = 'NvbraidError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly context: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions2 = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERROR_CODES[code].retryable;
    this.context = options.context ?? {};
  }
}
