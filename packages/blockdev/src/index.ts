export * from './block-device.ts';
export * from './devices.ts';
export { type FileDeviceOptions, type FileDeviceSpec, fileDevice } from './file/file-spec.ts';
export * from './io.ts';
export { type MemoryDeviceSpec, memoryDevice } from './memory-device.ts';
export { type NullDeviceSpec, nullDevice } from './null-device.ts';
