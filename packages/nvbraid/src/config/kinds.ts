import { MAX_ANA_GROUPS, nqnProblem } from '@nvbraid/target';
import { ATTRIBUTES, type AttributeRow } from './attributes.ts';

/** The kinds of objects in the tree. */
export type KindName = 'root' | 'host' | 'subsystem' | 'namespace' | 'passthru' | 'port' | 'referral' | 'ana-group';

/** A directory whose entries are objects of one kind. */
export interface Group {
  readonly kind: KindName;
  /** What is wrong with a name, or null. */
  problem(name: string): string | null;
  /** Where the name stands in nvmetcli's JSON, and whether it is a number there. */
  readonly key: string;
  readonly numeric: boolean;
}

/** A directory whose entries are links to objects in a group of the root. */
export interface Links {
  readonly to: string;
}

export interface Kind {
  readonly name: KindName;
  readonly attributes: readonly AttributeRow[];
  readonly groups: Readonly<Record<string, Group>>;
  readonly links: Readonly<Record<string, Links>>;
  /** A single object in a directory of this name, which nobody makes or removes. */
  readonly only: Readonly<Record<string, KindName>>;
  /** Keys that nvmetcli writes for such an object, also when there is nothing in them. */
  readonly sections: readonly string[];
}

const nqn = (name: string): string | null =>
  name.includes('/') ? 'contains a slash' : name === '.' || name === '..' ? 'is no name' : nqnProblem(name);

const number =
  (min: number, max: number) =>
  (name: string): string | null =>
    /^(0|[1-9][0-9]*)$/.test(name) && Number(name) >= min && Number(name) <= max
      ? null
      : `is not a whole number from ${min} to ${max}`;

const fileName = (name: string): string | null =>
  name === '' || name === '.' || name === '..' || name.length > 255 || /[/\p{Cc}]/u.test(name) ? 'is no name' : null;

type Shape = Partial<Omit<Kind, 'name' | 'attributes'>>;

function kind(name: KindName, shape: Shape): Kind {
  return { name, attributes: ATTRIBUTES[name], groups: {}, links: {}, only: {}, sections: [], ...shape };
}

/** The tree of configfs, one row for each kind of object. */
export const KINDS: Readonly<Record<KindName, Kind>> = {
  root: kind('root', {
    groups: {
      hosts: { kind: 'host', problem: nqn, key: 'nqn', numeric: false },
      subsystems: { kind: 'subsystem', problem: nqn, key: 'nqn', numeric: false },
      ports: { kind: 'port', problem: number(0, 65535), key: 'portid', numeric: true },
    },
    sections: ['discovery', 'hosts', 'ports', 'subsystems'],
  }),
  host: kind('host', {}),
  subsystem: kind('subsystem', {
    groups: { namespaces: { kind: 'namespace', problem: number(1, 0xfffffffe), key: 'nsid', numeric: true } },
    links: { allowed_hosts: { to: 'hosts' } },
    only: { passthru: 'passthru' },
    sections: ['allowed_hosts', 'attr', 'namespaces'],
  }),
  namespace: kind('namespace', { sections: ['ana', 'device', 'resv'] }),
  passthru: kind('passthru', { sections: ['device'] }),
  port: kind('port', {
    groups: {
      ana_groups: { kind: 'ana-group', problem: number(1, MAX_ANA_GROUPS), key: 'grpid', numeric: true },
      referrals: { kind: 'referral', problem: fileName, key: 'name', numeric: false },
    },
    links: { subsystems: { to: 'subsystems' } },
    sections: ['addr', 'ana_groups', 'param', 'referrals', 'subsystems'],
  }),
  referral: kind('referral', { sections: ['addr'] }),
  'ana-group': kind('ana-group', { sections: ['ana'] }),
};

/** The group that exists in every port, and can be neither made nor removed. */
export const DEFAULT_ANA_GROUP = '1';

export function attributeOf(name: KindName, attribute: string): AttributeRow | undefined {
  return KINDS[name].attributes.find((row) => row.name === attribute);
}
