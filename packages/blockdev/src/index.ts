export * from './block-device.ts';
