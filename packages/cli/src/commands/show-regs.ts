import { CapProperty, type LayoutMethods, PROPERTY_LAYOUTS, propertyFields } from '@nvbraid/wire';
import { command } from '../command.ts';
import { CONTROLLER_OPERAND } from '../device-name.ts';
import { exact } from '../exact-json.ts';
import { fieldLines } from '../identify-text.ts';
import { withController } from '../open-session.ts';
import { outputOptions, sessionOptions } from '../options.ts';

const always = (): boolean => true;

/** The properties of controllers over fabrics, with nvme-cli's names, and whether one is there by what CAP says. */
const REGISTERS = [
  { name: 'cap', title: 'cap', offset: 0x00, wide: true, there: always },
  { name: 'vs', title: 'version', offset: 0x08, wide: false, there: always },
  { name: 'cc', title: 'cc', offset: 0x14, wide: false, there: always },
  { name: 'csts', title: 'csts', offset: 0x1c, wide: false, there: always },
  { name: 'nssr', title: 'nssr', offset: 0x20, wide: false, there: (cap: CapProperty) => cap.nssrs === 1 },
  { name: 'crto', title: 'crto', offset: 0x68, wide: false, there: (cap: CapProperty) => cap.crms !== 0 },
] as const;

const LAYOUTS: Readonly<Record<number, LayoutMethods<unknown>>> = PROPERTY_LAYOUTS;

export const showRegs = command({
  name: 'show-regs',
  summary: 'Print the properties of a controller',
  description: [
    'Capabilities, version, configuration and status, by Property Get: of a controller of a running nvbraid connect or serve, or with -a of the target at that address. A property that the controller does not have is left out.',
  ],
  options: {
    'human-readable': { type: 'flag', short: 'H', help: 'Print the fields of each property, too' },
    ...sessionOptions,
    ...outputOptions,
  },
  operands: CONTROLLER_OPERAND,
  examples: [{ line: 'nvbraid show-regs -H nvme1', help: 'with what the bits say' }],
  run: (invocation) =>
    withController(invocation, async (session, device) => {
      const { terminal, options } = invocation;
      const json: Record<string, unknown> = {};
      const cap = propertyFields(CapProperty, await session.property(0, true, device));
      for (const { name, title, offset, wide, there } of REGISTERS) {
        if (!there(cap)) continue;
        const value = await session.property(offset, wide, device);
        json[name] = exact(value);
        if (options['output-format'] === 'json') continue;
        terminal.line(`${title.padEnd(8)}: ${value.toString(16)}`);
        const layout = LAYOUTS[offset];
        if (!options['human-readable'] || layout === undefined) continue;
        const bytes = new Uint8Array(8);
        new DataView(bytes.buffer).setBigUint64(0, value, true);
        for (const { name: field, text, meaning } of fieldLines(layout, bytes)) {
          terminal.line(`\t${field.padEnd(8)}: ${text}${meaning === '' ? '' : ` (${meaning})`}`);
        }
      }
      if (options['output-format'] === 'json') terminal.json(json);
      return 0;
    }),
});
