import { isObject, type Methods, type Params } from '@nvbraid/manage';
import type { FaultRule } from '@nvbraid/target';
import { NvbraidError, type Target } from 'nvbraid';

/** What `nvbraid serve` answers about filters and protocol faults. */
export function faultMethods(target: Target): Methods {
  return {
    'fault-add': ({ rule }) => target.faults.add(object(rule, 'rule') as FaultRule),
    'fault-remove': ({ id }) => target.faults.remove(number(id, 'id')),
    'fault-list': () => target.faults.list(),
    'fault-clear': () => ({ removed: target.faults.clear() }),
    'filter-list': (params) =>
      namespacesOf(target, params).map(({ nqn, nsid }) => ({ nqn, nsid, filters: target.filters(nqn, nsid).list() })),
    'filter-set': (params) => {
      const settings = object(params.settings, 'settings');
      const name = text(params.name, 'name');
      return oneWith(target, params, name).set(name, settings);
    },
    'filter-run': (params) => {
      const name = text(params.name, 'name');
      return oneWith(target, params, name).act(name, text(params.action, 'action'));
    },
  };
}

/** The namespaces that the request means: one, those of one subsystem, or all. */
function namespacesOf(target: Target, params: Params): { nqn: string; nsid: number }[] {
  const nqn = params.nqn === undefined ? undefined : text(params.nqn, 'nqn');
  const nsid = params.nsid === undefined ? undefined : number(params.nsid, 'nsid');
  if (nqn !== undefined && target.core.subsystem(nqn) === undefined) {
    throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
  }
  const found = [...target.core.subsystems].flatMap((subsystem) =>
    subsystem.namespaces.map((namespace) => ({ nqn: subsystem.nqn, nsid: namespace.nsid })),
  );
  return found.filter((one) => (nqn ?? one.nqn) === one.nqn && (nsid ?? one.nsid) === one.nsid);
}

/** The only namespace that is meant and has the filter. @throws NvbraidError ENOENT, EINVAL when there are several */
function oneWith(target: Target, params: Params, name: string) {
  const meant = namespacesOf(target, params);
  const having = meant.filter(({ nqn, nsid }) =>
    target
      .filters(nqn, nsid)
      .list()
      .some((filter) => filter.name === name),
  );
  if (having.length === 1) return target.filters(having[0]!.nqn, having[0]!.nsid);
  if (having.length === 0 && meant.length === 1) return target.filters(meant[0]!.nqn, meant[0]!.nsid);
  const list = (having.length > 0 ? having : meant).map(({ nqn, nsid }) => `${nsid} of ${nqn}`).join(', ');
  if (having.length > 1) {
    throw new NvbraidError(
      'EINVAL',
      `several namespaces have a filter ${name} (${list}); choose one with -n and --nsid`,
    );
  }
  throw new NvbraidError('ENOENT', `no namespace has a filter ${name} (there are ${list === '' ? 'none' : list})`);
}

function object(value: unknown, name: string): object {
  if (isObject(value)) return value;
  throw new NvbraidError('EINVAL', `${name} is an object`);
}

function text(value: unknown, name: string): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 512) return value;
  throw new NvbraidError('EINVAL', `${name} is a text of 1 to 512 characters`);
}

function number(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new NvbraidError('EINVAL', `${name} is a whole number`);
}
