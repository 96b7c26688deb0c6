import { IdentifyNamespace, lbaFormatIndex } from '@nvbraid/wire';
import { command } from '../command.ts';
import { fieldLines, fieldValues, line, viewOf } from '../identify-text.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { namespaceOption, outputOptions, sessionOptions, verboseOption } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';

const RELATIVE_PERFORMANCE = ['Best', 'Better', 'Good', 'Degraded'];

export const idNs = command({
  name: 'id-ns',
  summary: 'Print the Identify Namespace data structure',
  description: [
    'Asks a running nvbraid connect or serve, or with -a the target at that address by a short association of its own.',
    'Field names and layout are those of nvme-cli; -v adds what values mean.',
  ],
  options: { ...namespaceOption, ...sessionOptions, ...outputOptions, ...verboseOption },
  examples: [{ line: 'nvbraid id-ns --namespace-id 1 -o json', help: 'namespace 1, for a script' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    let page: Uint8Array;
    let nsid: number;
    try {
      nsid = chooseNamespace(session, options['namespace-id']).nsid;
      page = await session.identifyNamespace(nsid);
    } finally {
      await session.close();
    }
    const { nlbaf, nulbaf, flbas, lbaf } = IdentifyNamespace.parse(viewOf(page));
    const formats = lbaf.slice(0, nlbaf + 1 + nulbaf);
    if (options['output-format'] === 'json') {
      terminal.json({ nsid, ...fieldValues(IdentifyNamespace, page, ['vs']), lbafs: formats });
      return 0;
    }
    terminal.line(`NVME Identify Namespace ${nsid}:`);
    for (const { name, text, meaning } of fieldLines(IdentifyNamespace, page, ['vs'])) {
      const shown = ['nsze', 'ncap', 'nuse'].includes(name) ? `0x${Number(text).toString(16)}` : text;
      terminal.line(line(name, options.verbose > 0 && meaning !== '' ? `${shown} (${meaning})` : shown));
    }
    formats.forEach(({ ms, lbads, rp }, i) => {
      const use = i === lbaFormatIndex(flbas) ? ' (in use)' : '';
      const speed = options.verbose > 0 ? ` (${RELATIVE_PERFORMANCE[rp]})` : '';
      terminal.line(
        `lbaf ${String(i).padStart(2)} : ms:${String(ms).padEnd(3)} lbads:${String(lbads).padEnd(2)} rp:${rp}${speed}${use}`,
      );
    });
    return 0;
  },
});
