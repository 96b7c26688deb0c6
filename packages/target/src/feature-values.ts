import { WARNING_TEMPERATURE_KELVIN } from './limits.ts';

/** What Set Features has changed on one controller, apart from the Keep Alive timeout and the events. */
export class FeatureValues {
  /** I/O queues that Number of Queues has granted; 0 while the host has not asked. */
  ioQueuesGranted = 0;
  overTemperature = WARNING_TEMPERATURE_KELVIN;
  underTemperature = 0;
  /** Disable Normal of Write Atomicity Normal. */
  atomicityDisabled = 0;
  /** Volatile Write Cache Enable. */
  writeCache = true;
  /** What a host has set the clock to, and when; null while it counts from the last reset. */
  timestampMs: number | null = null;
  timestampAtMs = 0;
  /** The Host Behavior Support structure as the host has set it. */
  hostBehavior: Uint8Array = new Uint8Array(512);

  /** Controller reset. */
  reset(nowMs: number): void {
    this.timestampMs = null;
    this.timestampAtMs = nowMs;
    this.hostBehavior = new Uint8Array(512);
    this.ioQueuesGranted = 0;
    this.overTemperature = WARNING_TEMPERATURE_KELVIN;
    this.underTemperature = 0;
    this.atomicityDisabled = 0;
    this.writeCache = true;
  }
}
