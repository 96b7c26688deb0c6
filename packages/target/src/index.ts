export * from './io-commands.ts';
export * from './io-counters.ts';
export * from './namespace-table.ts';
export * from './queue-limits.ts';
export * from './queue-pair.ts';
export * from './request.ts';
export * from './snapshot.ts';
