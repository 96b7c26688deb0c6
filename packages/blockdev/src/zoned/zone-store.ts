/** Where the records of zones are kept. One per thread, over the same bytes. */
export interface ZoneStore {
  /** Writes the record of a zone so that it survives this process. False when that failed. */
  write(zone: number, record: ZoneRecord): boolean;
  /** Makes what has been written survive a loss of power. Never calls back before it has returned. */
  sync(done: (failed: boolean) => void): void;
  close(): void;
}

/** How a zone is kept: no state that a restart would end. */
export const ZoneKept = { Sequential: 0, Finished: 1, ReadOnly: 2, Offline: 3 } as const;
export type ZoneKept = (typeof ZoneKept)[keyof typeof ZoneKept];

/** What is kept of a zone. */
export interface ZoneRecord {
  kept: ZoneKept;
  /** Blocks written. */
  written: number;
  /** Of these, blocks that were on stable storage when the record was made. */
  stable: number;
  epoch: number;
}
