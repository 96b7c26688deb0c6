export * from './request.ts';
export * from './snapshot.ts';
