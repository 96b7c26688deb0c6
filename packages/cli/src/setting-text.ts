import type { Plain, SettingTable } from '@nvbraid/base';
import type { FaultState, FilterState } from 'nvbraid';
import { plural } from './size.ts';

/** The settings of a table in one paragraph of help. */
export function settingsHelp(title: string, table: SettingTable): string {
  const settings = Object.entries(table).map(([key, field]) => {
    const byDefault = field.default === null || field.default === '' ? '' : `, default ${field.default}`;
    return `${key}=${field.value} (${uncapitalized(field.help)}${byDefault})`;
  });
  return `${title}: ${settings.join('; ')}.`;
}

function uncapitalized(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text[0]!.toLowerCase() + text.slice(1) : text;
}

/** `key=value key=value`, as it can be typed again. */
export function settingsText(settings: Readonly<Record<string, Plain>>): string {
  return Object.entries(settings)
    .map(([key, value]) => {
      const text = `${key}=${value ?? 'none'}`;
      return /[^\w=:.,+/-]/.test(text) ? `'${text}'` : text;
    })
    .join(' ');
}

/** Lines about one filter. */
export function filterLines({ name, kind, settings, report, actions }: FilterState): string[] {
  const lines = [`  ${name}${name === kind ? '' : ` (${kind})`}: ${settingsText(settings)}`];
  for (const [key, value] of Object.entries((report ?? {}) as Record<string, unknown>)) {
    const text =
      typeof value === 'object' && value !== null
        ? Object.entries(value)
            .map(([inner, number]) => `${inner} ${number}`)
            .join(', ')
        : String(value ?? 'no end');
    lines.push(`    ${key}: ${text}`);
  }
  if (actions.length > 0) lines.push(`    can be told to: ${actions.join(', ')}`);
  return lines;
}

/** A line about one fault. */
export function faultLine({ id, rule, hits, left }: FaultState): string {
  const { action, ...settings } = rule;
  const rest = settingsText(settings);
  return `${id}: ${action}${rest === '' ? '' : ` ${rest}`}, ${plural(hits, 'hit')}${left === null ? '' : `, ${left} left`}`;
}
