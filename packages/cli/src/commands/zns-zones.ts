import { zoneCommand } from '../zone-command.ts';

export const znsOpenZone = zoneCommand('open', 'Open a zone', 'Open all closed zones', 'opened');
export const znsCloseZone = zoneCommand('close', 'Close a zone', 'Close all open zones', 'closed');
export const znsFinishZone = zoneCommand(
  'finish',
  'Make a zone full',
  'Finish all zones that are open or closed',
  'finished',
);
export const znsResetZone = zoneCommand(
  'reset',
  'Empty a zone',
  'Reset all zones that are open, closed or full',
  'reset',
  ['What is in the zone is lost.'],
);
export const znsOfflineZone = zoneCommand(
  'offline',
  'Take a zone that is read only offline',
  'Take all read only zones offline',
  'took offline',
);
