import { ERROR_CODES, type ErrorCode, NvbraidError } from '@nvbraid/base';

/*
 * One JSON object per line, both ways. A client sends a request, waits for its response and may send the next.
 *
 *   {"id":1,"method":"status","params":{}}
 *   {"id":1,"result":{…}}   or   {"id":1,"error":{"code":"EINVAL","message":"…","context":{…}}}
 */
export interface Request {
  readonly id: number | string | null;
  readonly method: string;
  readonly params: Params;
}

export type Params = Readonly<Record<string, unknown>>;

export interface ErrorBody {
  readonly code: string;
  readonly message: string;
  readonly context?: Readonly<Record<string, string | number | boolean>>;
}

export type Response =
  | { readonly id: number | string | null; readonly result: unknown }
  | { readonly id: number | string | null; readonly error: ErrorBody };

/** A method of the table that a server is made of. What it throws becomes the error of the response. */
export type Method = (params: Params) => unknown;
export type Methods = Readonly<Record<string, Method>>;

/** @throws NvbraidError EINVAL when the line is not a request. */
export function parseRequest(line: string): Request {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new NvbraidError('EINVAL', 'the request is not JSON');
  }
  if (!isObject(value)) throw new NvbraidError('EINVAL', 'the request is not an object');
  const { id, method, params } = value;
  if (typeof method !== 'string') throw new NvbraidError('EINVAL', 'the request has no method');
  if (params !== undefined && !isObject(params)) throw new NvbraidError('EINVAL', 'params is not an object');
  return { id: requestId(id), method, params: params ?? {} };
}

/** The id to answer with; null where there is none that could be sent back. */
export function requestId(id: unknown): number | string | null {
  return typeof id === 'number' || (typeof id === 'string' && id.length <= 64) ? id : null;
}

export function errorBody(error: unknown): ErrorBody {
  if (error instanceof NvbraidError) return { code: error.code, message: error.message, context: error.context };
  return { code: 'EIO', message: error instanceof Error ? error.message : String(error) };
}

/** The error of a response as the error that the caller throws. */
export function errorFrom(body: unknown): NvbraidError {
  if (!isObject(body)) return new NvbraidError('EPROTO', 'the process answered with an error of unknown form');
  const code: ErrorCode =
    typeof body.code === 'string' && Object.hasOwn(ERROR_CODES, body.code) ? (body.code as ErrorCode) : 'EIO';
  const context: Record<string, string | number | boolean> = {};
  if (isObject(body.context)) {
    for (const [key, value] of Object.entries(body.context)) {
      if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') context[key] = value;
    }
  }
  return new NvbraidError(code, String(body.message ?? 'the process answered with an error'), { context });
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
