import { AnaState, Status } from '@nvbraid/wire';

/** Status of an I/O command to a namespace whose ANA group is in this state; 0 when it may run (Base 2.1, 8.1.1). */
export function anaStatus(state: AnaState): number {
  switch (state) {
    case AnaState.Optimized:
    case AnaState.NonOptimized:
      return 0;
    case AnaState.Inaccessible:
      return Status.AnaInaccessible;
    case AnaState.PersistentLoss:
      return Status.AnaPersistentLoss;
    case AnaState.Change:
      return Status.AnaTransition;
  }
}
