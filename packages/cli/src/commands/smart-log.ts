import { Lid, SmartLog } from '@nvbraid/wire';
import { command } from '../command.ts';
import { CONTROLLER_OPERAND } from '../device-name.ts';
import { exact } from '../exact-json.ts';
import { viewOf } from '../identify-text.ts';
import { withController } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';
import { formatSize } from '../size.ts';

const ALL = 0xffffffff;
/** A data unit: a thousand blocks of 512 bytes. */
const UNIT_BYTES = 512_000;
const ABSOLUTE_ZERO = -273;

type Show = (value: number | bigint) => string;
const plain: Show = String;
const percent: Show = (value) => `${value}%`;
const kelvin: Show = (value) => `${Number(value) + ABSOLUTE_ZERO} °C (${value} K)`;
const units: Show = (value) => `${value} (${formatSize(Number(value) * UNIT_BYTES)})`;

/** Field of the page, its words in nvme-cli's text, its name in nvme-cli's JSON. */
const ROWS: readonly [keyof SmartLog, string, string, Show][] = [
  ['cw', 'critical_warning', 'critical_warning', plain],
  ['ctemp', 'temperature', 'temperature', kelvin],
  ['avsp', 'available_spare', 'avail_spare', percent],
  ['avspt', 'available_spare_threshold', 'spare_thresh', percent],
  ['pused', 'percentage_used', 'percent_used', percent],
  ['egcws', 'endurance group critical warning summary', 'endurance_grp_critical_warning_summary', plain],
  ['dur', 'Data Units Read', 'data_units_read', units],
  ['duw', 'Data Units Written', 'data_units_written', units],
  ['hrc', 'host_read_commands', 'host_read_commands', plain],
  ['hwc', 'host_write_commands', 'host_write_commands', plain],
  ['cbt', 'controller_busy_time', 'controller_busy_time', plain],
  ['pwrc', 'power_cycles', 'power_cycles', plain],
  ['poh', 'power_on_hours', 'power_on_hours', plain],
  ['upl', 'unsafe_shutdowns', 'unsafe_shutdowns', plain],
  ['mdie', 'media_errors', 'media_errors', plain],
  ['neile', 'num_err_log_entries', 'num_err_log_entries', plain],
  ['wctt', 'Warning Temperature Time', 'warning_temp_time', plain],
  ['cctt', 'Critical Composite Temperature Time', 'critical_comp_time', plain],
  ['tmt1tc', 'Thermal Management T1 Trans Count', 'thm_temp1_trans_count', plain],
  ['tmt2tc', 'Thermal Management T2 Trans Count', 'thm_temp2_trans_count', plain],
  ['tttmt1', 'Thermal Management T1 Total Time', 'thm_temp1_total_time', plain],
  ['tttmt2', 'Thermal Management T2 Total Time', 'thm_temp2_total_time', plain],
];

const WIDTH = Math.max(...ROWS.map(([, text]) => text.length));

export const smartLog = command({
  name: 'smart-log',
  summary: 'Print the SMART / Health Information log page',
  description: [
    'Of a controller of a running nvbraid connect or serve, or with -a of the target at that address. Words and JSON are those of nvme-cli.',
  ],
  options: {
    'namespace-id': {
      type: 'number',
      aliases: ['nsid'],
      value: 'NSID',
      min: 0,
      max: ALL,
      default: ALL,
      help: 'Namespace; the default is all of the controller',
    },
    ...sessionOptions,
    ...outputOptions,
  },
  operands: CONTROLLER_OPERAND,
  examples: [{ line: 'nvbraid smart-log -o json', help: 'for a script' }],
  run: (invocation) =>
    withController(invocation, async (session, device) => {
      const { terminal, options } = invocation;
      const nsid = options['namespace-id'];
      const page = await session.logPage(Lid.Smart, SmartLog.size, { nsid, lsp: 0 }, device);
      const log = SmartLog.parse(viewOf(page));
      if (options['output-format'] === 'json') {
        terminal.json(Object.fromEntries(ROWS.map(([field, , json]) => [json, exact(BigInt(log[field]))])));
        return 0;
      }
      terminal.line(`Smart Log for NVME device:${device ?? session.where} namespace-id:${nsid.toString(16)}`);
      for (const [field, text, , show] of ROWS) terminal.line(`${text.padEnd(WIDTH)} : ${show(log[field])}`);
      return 0;
    }),
});
