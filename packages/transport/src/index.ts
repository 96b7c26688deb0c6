export * from './event-loop.ts';
export { addressOf } from './libc.ts';
export * from './native-crc32c.ts';
export * from './table.ts';
export * from './tcp/socket-ops.ts';
export { socketTransport, tcp } from './tcp/socket-transport.ts';
export * from './transport.ts';
