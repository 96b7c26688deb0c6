import { StateTable, type Transitions } from '@nvbraid/base';

/** The states of a zone, as numbers for shared memory. Not those of any protocol. */
export const ZoneCondition = {
  Empty: 0,
  ImplicitlyOpened: 1,
  ExplicitlyOpened: 2,
  Closed: 3,
  Full: 4,
  ReadOnly: 5,
  Offline: 6,
} as const;
export type ZoneCondition = (typeof ZoneCondition)[keyof typeof ZoneCondition];

const NAMES = ['empty', 'implicitly-opened', 'explicitly-opened', 'closed', 'full', 'read-only', 'offline'] as const;
export type ZoneConditionName = (typeof NAMES)[number];

/** write … offline come from outside; make-room, fail and lose are the device's own doing. */
const EVENTS = ['write', 'fill', 'open', 'close', 'finish', 'reset', 'offline', 'make-room', 'fail', 'lose'] as const;
export type ZoneEventName = (typeof EVENTS)[number];

const TRANSITIONS: Transitions<ZoneConditionName, ZoneEventName> = {
  write: {
    empty: 'implicitly-opened',
    closed: 'implicitly-opened',
    'implicitly-opened': 'implicitly-opened',
    'explicitly-opened': 'explicitly-opened',
  },
  // A zone may have been closed to make room while its last blocks were being written.
  fill: { 'implicitly-opened': 'full', 'explicitly-opened': 'full', closed: 'full', full: 'full' },
  open: {
    empty: 'explicitly-opened',
    closed: 'explicitly-opened',
    'implicitly-opened': 'explicitly-opened',
    'explicitly-opened': 'explicitly-opened',
  },
  close: { 'implicitly-opened': 'closed', 'explicitly-opened': 'closed', closed: 'closed' },
  finish: {
    empty: 'full',
    'implicitly-opened': 'full',
    'explicitly-opened': 'full',
    closed: 'full',
    full: 'full',
  },
  reset: {
    empty: 'empty',
    'implicitly-opened': 'empty',
    'explicitly-opened': 'empty',
    closed: 'empty',
    full: 'empty',
  },
  offline: { 'read-only': 'offline', offline: 'offline' },
  'make-room': { 'implicitly-opened': 'closed' },
  fail: {
    empty: 'read-only',
    'implicitly-opened': 'read-only',
    'explicitly-opened': 'read-only',
    closed: 'read-only',
    full: 'read-only',
    'read-only': 'read-only',
  },
  lose: {
    empty: 'offline',
    'implicitly-opened': 'offline',
    'explicitly-opened': 'offline',
    closed: 'offline',
    full: 'offline',
    'read-only': 'offline',
    offline: 'offline',
  },
};

/** The state machine of a zone (ZNS 1.2, 2.1.1.3; the same in ZBC and in Linux' block layer). */
export const ZONE_STATES = new StateTable<ZoneConditionName, ZoneEventName>('zone', 'empty', TRANSITIONS);

/** Event to the state that follows each state; -1 where it may not happen. Made from the table above. */
const NEXT: Readonly<Record<ZoneEventName, Int8Array>> = Object.fromEntries(
  EVENTS.map((event) => [event, Int8Array.from(NAMES, (from) => nameIndex(TRANSITIONS[event][from]))] as const),
) as Record<ZoneEventName, Int8Array>;

function nameIndex(name: ZoneConditionName | undefined): number {
  return name === undefined ? -1 : NAMES.indexOf(name);
}

/** The state after an event, or -1 when it may not happen in this one. */
export function zoneAfter(condition: ZoneCondition, event: ZoneEventName): ZoneCondition | -1 {
  return NEXT[event][condition]! as ZoneCondition | -1;
}

export function zoneConditionName(condition: ZoneCondition): ZoneConditionName {
  return NAMES[condition];
}

/** Has an open resource: 1 or 0. */
export function isOpened(condition: ZoneCondition): number {
  return condition === ZoneCondition.ImplicitlyOpened || condition === ZoneCondition.ExplicitlyOpened ? 1 : 0;
}

/** Has an active resource: 1 or 0. */
export function isActive(condition: ZoneCondition): number {
  return isOpened(condition) === 1 || condition === ZoneCondition.Closed ? 1 : 0;
}
