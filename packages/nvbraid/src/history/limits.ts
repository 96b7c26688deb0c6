/** Bounds of the history checker. */
export const limits = {
  /** Events kept for the report of a violation; 56 bytes each. */
  eventsKept: 65536,
  eventsInReport: 40,
  valuesInReport: 16,
  /** Values of one block that are told apart while an operation on it hangs. */
  valuesPerBlock: 1024,
} as const;
