import { IdentifyControllerZoned, IdentifyNamespaceZoned } from '@nvbraid/wire';
import { command } from '../command.ts';
import { fieldLines, fieldValues, line, viewOf } from '../identify-text.ts';
import { chooseNamespace, openSession } from '../open-session.ts';
import { namespaceOption, outputOptions, sessionOptions } from '../options.ts';
import { StopSignal } from '../stop-signal.ts';
import { ASKS } from '../zone-command.ts';

export const znsIdNs = command({
  name: 'zns-id-ns',
  summary: 'Print Identify Namespace of the Zoned Namespace command set',
  description: [ASKS, 'Field names are those of nvme-cli; mar and mor of 4294967295 are no limits.'],
  options: { ...namespaceOption, ...sessionOptions, ...outputOptions },
  examples: [{ line: 'nvbraid zns id-ns -o json', help: 'for a script' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    let page: Uint8Array;
    let nsid: number;
    try {
      nsid = chooseNamespace(session, options['namespace-id']).nsid;
      page = await session.zoned.identifyNamespaceZoned(nsid);
    } finally {
      await session.close();
    }
    const formats = IdentifyNamespaceZoned.parse(viewOf(page)).lbafe.filter(({ zsze }) => zsze > 0);
    if (options['output-format'] === 'json') {
      terminal.json({ nsid, ...fieldValues(IdentifyNamespaceZoned, page, ['vs']), lbafe: formats });
      return 0;
    }
    terminal.line(`ZNS Command Set Identify Namespace ${nsid}:`);
    for (const { name, text } of fieldLines(IdentifyNamespaceZoned, page, ['vs'])) terminal.line(line(name, text));
    formats.forEach(({ zsze, zdes }, i) => {
      terminal.line(`lbafe ${String(i).padStart(2)}: zsze:0x${zsze.toString(16)} zdes:${zdes}`);
    });
    return 0;
  },
});

export const znsIdCtrl = command({
  name: 'zns-id-ctrl',
  summary: 'Print Identify Controller of the Zoned Namespace command set',
  description: [ASKS],
  options: { ...sessionOptions, ...outputOptions },
  examples: [{ line: 'nvbraid zns id-ctrl', help: 'the limit of Zone Append' }],
  async run({ options, given, terminal }) {
    using stop = new StopSignal();
    const session = await openSession(options, given, stop.signal);
    let page: Uint8Array;
    try {
      page = await session.zoned.identifyControllerZoned();
    } finally {
      await session.close();
    }
    if (options['output-format'] === 'json') {
      terminal.json(fieldValues(IdentifyControllerZoned, page));
      return 0;
    }
    terminal.line('NVMe ZNS Identify Controller:');
    for (const { name, text } of fieldLines(IdentifyControllerZoned, page)) terminal.line(line(name, text));
    return 0;
  },
});
