import {
  ANA_GROUP_SIZE,
  ANA_HEADER_SIZE,
  ANA_STATE_NAMES,
  AnaGroupDescriptor,
  AnaHeader,
  Cmic,
  IdentifyController,
  Lid,
  parseAnaLog,
} from '@nvbraid/wire';
import { NvbraidError } from 'nvbraid';
import { command } from '../command.ts';
import { CONTROLLER_OPERAND } from '../device-name.ts';
import { viewOf } from '../identify-text.ts';
import { withController } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';
import { LOG_BYTES_MAX, type Session } from '../session.ts';

/** LSP: groups alone, without their namespaces. */
const GROUPS_ONLY = 1;
const FIRST_BYTES = 4096;

export const anaLog = command({
  name: 'ana-log',
  summary: 'Print the Asymmetric Namespace Access log page',
  description: [
    'What a controller says of the ways to namespaces by itself: of a running nvbraid connect or serve, or with -a of the target at that address. Layout and JSON are those of nvme-cli.',
  ],
  options: {
    groups: { type: 'flag', help: 'Print the groups without their namespaces' },
    ...sessionOptions,
    ...outputOptions,
  },
  operands: CONTROLLER_OPERAND,
  examples: [{ line: 'nvbraid ana-log nvme2', help: 'of the second path of a running connect' }],
  run: (invocation) =>
    withController(invocation, async (session, device) => {
      const { terminal, options } = invocation;
      const page = await session.identifyController(device);
      const { cmic, anagrpmax } = IdentifyController.parse(viewOf(page));
      if ((cmic & Cmic.Ana) === 0) throw new NvbraidError('ENOTSUP', `${session.where} reports no ANA states`);
      const log = parseAnaLog(await readLog(session, device, options.groups), anagrpmax);
      if (!log.ok) throw new NvbraidError('EPROTO', `the ANA log of ${session.where} cannot be read: ${log.reason}`);
      const { chgcnt, groups } = log.value;
      const name = device ?? session.where;
      if (options['output-format'] === 'json') {
        terminal.json({
          'Asymmetric Namespace Access Log for NVMe device': name,
          chgcnt,
          ngrps: groups.length,
          'ANA DESC LIST ': groups.map((group) => ({
            grpid: group.grpid,
            nnsids: group.nsids.length,
            chgcnt: group.chgcnt,
            state: ANA_STATE_NAMES[group.state],
            NSIDS: group.nsids.map((nsid) => ({ nsid })),
          })),
        });
        return 0;
      }
      terminal.line(`Asymmetric Namespace Access Log for NVMe device: ${name}`);
      terminal.line('ANA LOG HEADER :-');
      terminal.line(`chgcnt  : ${chgcnt}`);
      terminal.line(`ngrps   : ${groups.length}`);
      terminal.line('ANA Log Desc :-');
      for (const group of groups) {
        terminal.line(`grpid   : ${group.grpid}`);
        terminal.line(`nnsids  : ${group.nsids.length}`);
        terminal.line(`chgcnt  : ${group.chgcnt}`);
        terminal.line(`state   : ${ANA_STATE_NAMES[group.state]}`);
        for (const nsid of group.nsids) terminal.line(`\tnsid    : ${nsid}`);
        terminal.line();
      }
      return 0;
    }),
});

/** As much of the page as there is: what comes after its end cannot be asked for. */
async function readLog(session: Session, device: string | undefined, groupsOnly: boolean): Promise<Uint8Array> {
  const fields = { nsid: 0, lsp: groupsOnly ? GROUPS_ONLY : 0 };
  for (let bytes = FIRST_BYTES; ; ) {
    const page = await session.logPage(Lid.Ana, bytes, fields, device);
    const needed = neededBytes(page);
    if (needed <= bytes || bytes === LOG_BYTES_MAX) return page;
    bytes = Math.min(LOG_BYTES_MAX, needed);
  }
}

/** How long the page is at least, by the part of it that is there. */
function neededBytes(page: Uint8Array): number {
  const view = viewOf(page);
  const { ngrps } = AnaHeader.parse(view, 0);
  let at = ANA_HEADER_SIZE;
  for (let i = 0; i < ngrps; i++) {
    if (at + ANA_GROUP_SIZE > page.length) return at + (ngrps - i) * ANA_GROUP_SIZE;
    at += ANA_GROUP_SIZE + 4 * AnaGroupDescriptor.parse(view, at).nnsids;
  }
  return at;
}
