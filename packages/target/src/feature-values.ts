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

  /** Controller reset. */
  reset(): void {
    this.ioQueuesGranted = 0;
    this.overTemperature = WARNING_TEMPERATURE_KELVIN;
    this.underTemperature = 0;
    this.atomicityDisabled = 0;
    this.writeCache = true;
  }
}
