export * from './block-device.ts';
export * from './devices.ts';
export { type FileDeviceOptions, type FileDeviceSpec, fileDevice } from './file/file-spec.ts';
export { Filter, type FilterKind, type FilterSpec, LowerIo, type PreparedFilter } from './filters/filter.ts';
export { type CrashOptions, VolatileCache, type VolatileCacheSpec, volatileCache } from './filters/volatile-cache.ts';
export * from './io.ts';
export { type MemoryDeviceSpec, memoryDevice } from './memory-device.ts';
export { type NullDeviceSpec, nullDevice } from './null-device.ts';
