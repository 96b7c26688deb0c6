export * from './limits.ts';
export * from './nbd-export.ts';
export * from './nbd-session.ts';
