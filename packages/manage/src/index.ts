export * from './control-client.ts';
export * from './control-server.ts';
export { limits as controlLimits } from './limits.ts';
export { type ErrorBody, isObject, type Method, type Methods, type Params } from './protocol.ts';
export * from './running.ts';
export * from './runtime-directory.ts';
