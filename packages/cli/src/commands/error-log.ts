import { ERROR_LOG_ENTRY_SIZE, ErrorLogEntry, IdentifyController, Lid, statusName } from '@nvbraid/wire';
import { command } from '../command.ts';
import { CONTROLLER_OPERAND } from '../device-name.ts';
import { viewOf } from '../identify-text.ts';
import { withController } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';

const NOT_SPECIFIC = 0xffff;

export const errorLog = command({
  name: 'error-log',
  summary: 'Print the Error Information log page, the latest error first',
  description: [
    'Of a controller of a running nvbraid connect or serve, or with -a of the target at that address. Words and JSON are those of nvme-cli; entries that the controller has not filled are left out.',
  ],
  options: {
    'log-entries': {
      type: 'number',
      short: 'e',
      value: 'NUMBER',
      min: 1,
      max: 256,
      default: 64,
      help: 'Entries at most',
    },
    ...sessionOptions,
    ...outputOptions,
  },
  operands: CONTROLLER_OPERAND,
  examples: [{ line: 'nvbraid error-log -e 1', help: 'what went wrong last' }],
  run: (invocation) =>
    withController(invocation, async (session, device) => {
      const { terminal, options } = invocation;
      const { elpe } = IdentifyController.parse(viewOf(await session.identifyController(device)));
      const wanted = Math.min(options['log-entries'], elpe + 1);
      const page = await session.logPage(Lid.Error, wanted * ERROR_LOG_ENTRY_SIZE, { nsid: 0, lsp: 0 }, device);
      const entries = Array.from({ length: wanted }, (_, i) =>
        fieldsOf(ErrorLogEntry.parse(viewOf(page), i * ERROR_LOG_ENTRY_SIZE)),
      ).filter(({ error_count }) => error_count !== 0);
      if (options['output-format'] === 'json') {
        terminal.json({ errors: entries });
        return 0;
      }
      terminal.line(`Error Log Entries for device:${device ?? session.where} entries:${entries.length}`);
      entries.forEach((entry, i) => {
        terminal.line('.................');
        terminal.line(` Entry[${String(i).padStart(2)}]`);
        terminal.line('.................');
        for (const [name, value] of Object.entries(entry)) {
          const meaning = name === 'status_field' ? ` (${statusName(Number(value))})` : '';
          const text = typeof value === 'number' && HEX.has(name) ? `0x${value.toString(16)}` : String(value);
          terminal.line(`${name.padEnd(19)}: ${text}${meaning}`);
        }
      });
      return 0;
    }),
});

const HEX = new Set(['cmdid', 'status_field', 'parm_err_loc', 'nsid', 'opcode']);

/** With the names of nvme-cli. */
function fieldsOf(entry: ErrorLogEntry) {
  const { pelByte, pelBit } = entry;
  return {
    error_count: entry.ecnt,
    sqid: entry.sqid,
    cmdid: entry.cid,
    status_field: entry.status >> 1,
    phase_tag: entry.status & 1,
    parm_err_loc: pelByte === 0xff ? NOT_SPECIFIC : (pelBit << 8) | pelByte,
    lba: entry.lba,
    nsid: entry.nsid,
    vs: entry.vsia,
    trtype: entry.trtype,
    csi: entry.csi,
    opcode: entry.opc,
    cs: entry.csinfo,
    trtype_spec_info: entry.ttsi,
    log_page_version: entry.lpver,
  };
}
