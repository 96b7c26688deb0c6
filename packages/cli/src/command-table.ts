import type { Command } from './command.ts';
import { addPath } from './commands/add-path.ts';
import { anaLog } from './commands/ana-log.ts';
import { bench } from './commands/bench.ts';
import { compare } from './commands/compare.ts';
import { completion } from './commands/completion.ts';
import { connect } from './commands/connect.ts';
import { connectAll } from './commands/connect-all.ts';
import { copy } from './commands/copy.ts';
import { demo } from './commands/demo.ts';
import { disconnect } from './commands/disconnect.ts';
import { disconnectAll } from './commands/disconnect-all.ts';
import { discover } from './commands/discover.ts';
import { dsm } from './commands/dsm.ts';
import { errorLog } from './commands/error-log.ts';
import { faultAdd } from './commands/fault-add.ts';
import { faultClear } from './commands/fault-clear.ts';
import { faultList } from './commands/fault-list.ts';
import { faultRemove } from './commands/fault-remove.ts';
import { filterList } from './commands/filter-list.ts';
import { filterRun } from './commands/filter-run.ts';
import { filterSet } from './commands/filter-set.ts';
import { flush } from './commands/flush.ts';
import { genHostnqn, showHostnqn } from './commands/hostnqn.ts';
import { idCtrl } from './commands/id-ctrl.ts';
import { idNs } from './commands/id-ns.ts';
import { getIopolicy, setIopolicy } from './commands/iopolicy.ts';
import { list } from './commands/list.ts';
import { listSubsys } from './commands/list-subsys.ts';
import { nbd } from './commands/nbd.ts';
import { read } from './commands/read.ts';
import { reset } from './commands/reset.ts';
import { resvAcquire } from './commands/resv-acquire.ts';
import { resvRegister } from './commands/resv-register.ts';
import { resvRelease } from './commands/resv-release.ts';
import { resvReport } from './commands/resv-report.ts';
import { serve } from './commands/serve.ts';
import { showRegs } from './commands/show-regs.ts';
import { smartLog } from './commands/smart-log.ts';
import { target } from './commands/target.ts';
import { top } from './commands/top.ts';
import { verify } from './commands/verify.ts';
import { write } from './commands/write.ts';
import { writeUncor } from './commands/write-uncor.ts';
import { writeZeroes } from './commands/write-zeroes.ts';
import { znsIdCtrl, znsIdNs } from './commands/zns-identify.ts';
import { znsReportZones } from './commands/zns-report-zones.ts';
import { znsZoneAppend } from './commands/zns-zone-append.ts';
import { znsCloseZone, znsFinishZone, znsOfflineZone, znsOpenZone, znsResetZone } from './commands/zns-zones.ts';

/** The commands by what they are for, as the help shows them. Parsing, help and completion are made of this table. */
export const COMMAND_GROUPS: readonly { readonly title: string; readonly commands: readonly Command[] }[] = [
  { title: 'Target', commands: [serve, target, demo] },
  {
    title: 'Host',
    commands: [
      discover,
      connect,
      connectAll,
      addPath,
      disconnect,
      disconnectAll,
      showHostnqn,
      genHostnqn,
      nbd,
      list,
      listSubsys,
      top,
      getIopolicy,
      setIopolicy,
      reset,
    ],
  },
  {
    title: 'Controller and namespace',
    commands: [
      idCtrl,
      idNs,
      anaLog,
      smartLog,
      errorLog,
      showRegs,
      read,
      write,
      compare,
      flush,
      writeZeroes,
      dsm,
      verify,
      copy,
      writeUncor,
    ],
  },
  { title: 'Reservations', commands: [resvRegister, resvAcquire, resvRelease, resvReport] },
  {
    title: 'Zoned namespaces',
    commands: [
      znsIdCtrl,
      znsIdNs,
      znsReportZones,
      znsZoneAppend,
      znsOpenZone,
      znsCloseZone,
      znsFinishZone,
      znsResetZone,
      znsOfflineZone,
    ],
  },
  {
    title: 'Filters and faults of a running target',
    commands: [filterList, filterSet, filterRun, faultAdd, faultRemove, faultList, faultClear],
  },
  { title: 'Tools', commands: [bench, completion] },
];

export const COMMANDS: readonly Command[] = COMMAND_GROUPS.flatMap((group) => group.commands);

/** `id ctrl` is another spelling of `id-ctrl`. @returns null when there is no such command */
export function findCommand(words: readonly string[]): { command: Command; rest: readonly string[] } | null {
  const [first, second] = words;
  const one = COMMANDS.find((command) => command.name === first);
  if (one !== undefined) return { command: one, rest: words.slice(1) };
  const two = COMMANDS.find((command) => command.name === `${first}-${second}`);
  return two === undefined ? null : { command: two, rest: words.slice(2) };
}
