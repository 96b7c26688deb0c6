/** What a target has done since it started, and what it has now. */
export interface TargetStats {
  readCommands: number;
  writeCommands: number;
  otherCommands: number;
  readBytes: number;
  writtenBytes: number;
  /** I/O commands that ended with an error status. */
  errors: number;
  mediaErrors: number;
  controllers: number;
  /** I/O queues. */
  queues: number;
  connections: number;
  /** Connections that ended because the peer broke the protocol. */
  fatalErrors: number;
  /** How often a limit has refused or ended something. */
  limitsMet: number;
  /** Plain TCP connections that ports of Multipath TCP have refused, and taken where they may. */
  fallbackRefused: number;
  fallbackTaken: number;
}
