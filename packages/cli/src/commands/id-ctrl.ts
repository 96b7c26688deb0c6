import { IdentifyController, PowerState } from '@nvbraid/wire';
import { command } from '../command.ts';
import { fieldLines, fieldValues, line, viewOf } from '../identify-text.ts';
import { openSession } from '../open-session.ts';
import { outputOptions, sessionOptions, verboseOption } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';

const SKIP = ['psd', 'vs', 'ieee'];

export const idCtrl = command({
  name: 'id-ctrl',
  summary: 'Print the Identify Controller data structure',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Field names and layout are those of nvme-cli; -v adds what values mean.',
  ],
  options: { ...sessionOptions, ...outputOptions, ...verboseOption },
  examples: [
    { line: 'nvbraid id-ctrl', help: 'of the only nvbraid that runs here' },
    { line: 'nvbraid id-ctrl -a 192.168.0.7 -n nqn.2026-01.io.nvbraid:box:disk', help: 'of another machine' },
  ],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    let page: Uint8Array;
    try {
      page = await session.identifyController();
    } finally {
      await session.close();
    }
    const { ieee, npss } = IdentifyController.parse(viewOf(page));
    const oui = Buffer.from(ieee).reverse().toString('hex');
    if (options['output-format'] === 'json') {
      const psds = powerStates(page, npss);
      terminal.json({ ...fieldValues(IdentifyController, page, SKIP), ieee: oui, psds });
      return 0;
    }
    terminal.line('NVME Identify Controller:');
    for (const { name, text, meaning } of fieldLines(IdentifyController, page, ['psd', 'vs'])) {
      const value = name === 'ieee' ? oui : text;
      terminal.line(line(name, options.verbose > 0 && meaning !== '' ? `${value} (${meaning})` : value));
    }
    powerStates(page, npss).forEach((state, i) => {
      const { mp, mxps, nops, ...rest } = state;
      const watts = ((mp as number) * (mxps === 1 ? 0.0001 : 0.01)).toFixed(2);
      const others = Object.entries(rest).map(([name, value]) => `${name}:${value}`);
      const kind = nops === 1 ? 'non-operational' : 'operational';
      terminal.line(`ps ${String(i).padStart(4)} : mp:${watts}W ${kind} ${others.join(' ')}`);
    });
    return 0;
  },
});

function powerStates(page: Uint8Array, npss: number): Record<string, unknown>[] {
  const { offset } = IdentifyController.psd;
  return Array.from({ length: Math.min(npss, 31) + 1 }, (_, i) =>
    fieldValues(PowerState, page.subarray(offset + i * PowerState.size, offset + (i + 1) * PowerState.size)),
  );
}
