import type { AttributeRow } from './attributes.ts';
import { deleteAll, type Edit, type Facts, NO_FACTS, perform } from './edits.ts';
import { DEFAULT_ANA_GROUP } from './kinds.ts';
import { type ConfigNode, nodePath } from './tree.ts';

/**
 * The edits that lead from one tree to another, in an order in which nvmet would allow each of them. What is new and
 * in nobody's way comes first: if a file is missing or a port is in use, nothing has been taken away yet.
 * @throws NvbraidError when `to` breaks a rule; the sentence names the path
 */
export function difference(from: ConfigNode, to: ConfigNode, facts: Facts = NO_FACTS): Edit[] {
  const planner = new Planner(from, to, facts);
  planner.root();
  planner.build(true);
  planner.release();
  planner.build(false);
  return planner.edits;
}

class Planner {
  readonly edits: Edit[] = [];
  readonly #from: ConfigNode;
  readonly #to: ConfigNode;
  readonly #facts: Facts;
  /** The tree as it is after the edits so far. */
  readonly #now: ConfigNode;

  constructor(from: ConfigNode, to: ConfigNode, facts: Facts) {
    this.#from = from;
    this.#to = to;
    this.#facts = facts;
    this.#now = from.clone();
  }

  #edit(edit: Edit): void {
    perform(this.#now, edit, this.#facts);
    this.edits.push(edit);
  }

  #set(path: string, attribute: string, value: string): void {
    this.#edit({ op: 'set', path, attribute, value });
  }

  /** What holds for all of the target comes before its first port; what only its start can set is left alone. */
  root(): void {
    for (const attribute of ['nvbraid_host_defaults', 'nvbraid_faults']) {
      const value = this.#to.get(attribute);
      if (value !== this.#now.get(attribute)) this.#set('/', attribute, value);
    }
  }

  // ---------------------------------------------------------------- taking away

  release(): void {
    for (const port of [...this.#now.group('ports').values()]) this.#releasePort(port);
    for (const subsystem of [...this.#now.group('subsystems').values()]) this.#releaseSubsystem(subsystem);
    for (const host of [...this.#now.group('hosts').keys()]) {
      if (!this.#to.group('hosts').has(host)) this.#edit({ op: 'delete', path: `/hosts/${host}` });
    }
    const nqn = this.#to.get('discovery_nqn');
    if (nqn !== this.#now.get('discovery_nqn')) this.#set('/', 'discovery_nqn', nqn);
  }

  #releasePort(port: ConfigNode): void {
    const path = nodePath(port);
    const wanted = this.#to.group('ports').get(port.name);
    const anew = wanted === undefined || changes(port, wanted).some((row) => row.when.rule === 'disabled');
    for (const nqn of [...port.linked('subsystems')]) {
      if (anew || !wanted.linked('subsystems').has(nqn))
        this.#edit({ op: 'delete', path: `${path}/subsystems/${nqn}` });
    }
    if (wanted === undefined) {
      for (const edit of deleteAll(port, path)) this.#edit(edit);
      return;
    }
    if (port.get('nvbraid_listen') === '1' && (anew || wanted.get('nvbraid_listen') === '0')) {
      this.#set(path, 'nvbraid_listen', '0');
    }
    for (const referral of [...port.group('referrals').values()]) {
      const twin = wanted.group('referrals').get(referral.name);
      const inner = nodePath(referral);
      if (twin === undefined) this.#edit({ op: 'delete', path: inner });
      else this.#disable(referral, twin);
    }
    for (const group of [...port.group('ana_groups').keys()]) {
      if (group !== DEFAULT_ANA_GROUP && !wanted.group('ana_groups').has(group)) {
        this.#edit({ op: 'delete', path: `${path}/ana_groups/${group}` });
      }
    }
  }

  #releaseSubsystem(subsystem: ConfigNode): void {
    const path = nodePath(subsystem);
    const wanted = this.#to.group('subsystems').get(subsystem.name);
    if (wanted === undefined) {
      for (const edit of deleteAll(subsystem, path)) this.#edit(edit);
      return;
    }
    for (const namespace of [...subsystem.group('namespaces').values()]) {
      const twin = wanted.group('namespaces').get(namespace.name);
      if (twin === undefined) this.#edit({ op: 'delete', path: nodePath(namespace) });
      else this.#disable(namespace, twin);
    }
    for (const host of [...subsystem.linked('allowed_hosts')]) {
      if (!wanted.linked('allowed_hosts').has(host))
        this.#edit({ op: 'delete', path: `${path}/allowed_hosts/${host}` });
    }
  }

  /** Disables what must be disabled, or has to be for its attributes to change. */
  #disable(node: ConfigNode, wanted: ConfigNode): void {
    if (!node.enabled) return;
    if (!wanted.enabled || changes(node, wanted).some((row) => row.when.rule === 'disabled')) {
      this.#set(nodePath(node), 'enable', '0');
    }
  }

  // ---------------------------------------------------------------- building

  /** @param early only what is new and needs nothing that another object still has */
  build(early: boolean): void {
    if (early && !this.#roomForBoth()) return;
    for (const host of this.#to.group('hosts').values()) {
      if (!this.#now.group('hosts').has(host.name)) this.#edit({ op: 'create', path: nodePath(host) });
      if (!early) this.#attributes(host);
    }
    for (const subsystem of this.#to.group('subsystems').values()) this.#buildSubsystem(subsystem, early);
    for (const port of this.#to.group('ports').values()) this.#buildPort(port, early);
  }

  /** Old and new objects exist at the same time for a while; no bound may refuse that. */
  #roomForBoth(): boolean {
    try {
      const both = this.#now.clone();
      for (const name of ['hosts', 'subsystems', 'ports']) {
        for (const entry of this.#to.group(name).keys()) {
          if (!both.group(name).has(entry)) perform(both, { op: 'create', path: `/${name}/${entry}` });
        }
      }
      return true;
    } catch {
      return false;
    }
  }

  #buildSubsystem(wanted: ConfigNode, early: boolean): void {
    const path = nodePath(wanted);
    const isNew = !this.#from.group('subsystems').has(wanted.name);
    if (early && !isNew) {
      this.#buildNamespaces(wanted, early);
      return;
    }
    if (!this.#now.group('subsystems').has(wanted.name)) this.#edit({ op: 'create', path });
    const now = this.#now.group('subsystems').get(wanted.name)!;
    this.#attributes(wanted);
    for (const host of wanted.linked('allowed_hosts')) {
      if (!now.linked('allowed_hosts').has(host)) this.#edit({ op: 'create', path: `${path}/allowed_hosts/${host}` });
    }
    for (const [name, child] of wanted.only) {
      if (!now.only.has(name) && !isNew) continue; // written into the tree as a whole
      if (now.only.has(name)) this.#attributes(child);
    }
    this.#buildNamespaces(wanted, early);
  }

  #buildNamespaces(subsystem: ConfigNode, early: boolean): void {
    const now = this.#now.group('subsystems').get(subsystem.name)!.group('namespaces');
    const before = this.#from.group('subsystems').get(subsystem.name)?.group('namespaces');
    for (const wanted of subsystem.group('namespaces').values()) {
      if (early && (before?.has(wanted.name) === true || this.#inTheWay(wanted, now))) continue;
      if (!now.has(wanted.name)) this.#edit({ op: 'create', path: nodePath(wanted) });
      this.#attributes(wanted);
    }
  }

  /** A namespace that is still there has the file, or an identifier, of one that is to come. */
  #inTheWay(wanted: ConfigNode, siblings: ReadonlyMap<string, ConfigNode>): boolean {
    const path = wanted.get('device_path');
    for (const subsystem of this.#now.group('subsystems').values()) {
      for (const other of subsystem.group('namespaces').values()) {
        if (path !== '' && other.enabled && other.get('device_path') === path) return true;
      }
    }
    return [...siblings.values()].some(
      (other) =>
        other.enabled &&
        ['device_uuid', 'device_nguid', 'nvbraid_eui64'].some(
          (name) => other.get(name) === wanted.get(name) && !/^[0-]*$/.test(wanted.get(name)),
        ),
    );
  }

  #buildPort(wanted: ConfigNode, early: boolean): void {
    const path = nodePath(wanted);
    const isNew = !this.#from.group('ports').has(wanted.name);
    if (early && (!isNew || this.#addressTaken(wanted) || !this.#linkable(wanted))) return;
    if (!this.#now.group('ports').has(wanted.name)) this.#edit({ op: 'create', path });
    const now = this.#now.group('ports').get(wanted.name)!;
    this.#attributes(wanted, (row) => row.name !== 'nvbraid_listen');
    for (const group of wanted.group('ana_groups').values()) {
      if (!now.group('ana_groups').has(group.name)) this.#edit({ op: 'create', path: nodePath(group) });
      this.#attributes(group);
    }
    for (const referral of wanted.group('referrals').values()) {
      if (!now.group('referrals').has(referral.name)) this.#edit({ op: 'create', path: nodePath(referral) });
      this.#attributes(referral);
    }
    this.#attributes(wanted);
    for (const nqn of wanted.linked('subsystems')) {
      if (!now.linked('subsystems').has(nqn)) this.#edit({ op: 'create', path: `${path}/subsystems/${nqn}` });
    }
  }

  #addressTaken(wanted: ConfigNode): boolean {
    const key = (port: ConfigNode): string => port.get('addr_trsvcid');
    return [...this.#now.group('ports').values()].some((port) => port.enabled && key(port) === key(wanted));
  }

  #linkable(wanted: ConfigNode): boolean {
    return [...wanted.linked('subsystems')].every((nqn) => this.#now.group('subsystems').has(nqn));
  }

  /** Brings the attributes of an object that exists to what is wanted; `enable` comes last, as in the table. */
  #attributes(wanted: ConfigNode, admit: (row: AttributeRow) => boolean = () => true): void {
    const path = nodePath(wanted);
    const now = twinOf(this.#now, wanted);
    const rows = changes(now, wanted).filter(admit);
    const min = rows.findIndex(({ name }) => name === 'attr_cntlid_min');
    if (min >= 0 && Number(wanted.get('attr_cntlid_min')) > Number(now.get('attr_cntlid_max'))) {
      rows.push(...rows.splice(min, 1)); // the greater bound first: the range is never upside down
    }
    for (const row of rows) this.#set(path, row.name, wanted.get(row.name));
  }
}

/** The attributes in which two objects differ. */
function changes(from: ConfigNode, to: ConfigNode): AttributeRow[] {
  return from.kind.attributes.filter((row) => !row.writeOnly && to.has(row) && from.get(row.name) !== to.get(row.name));
}

function twinOf(root: ConfigNode, node: ConfigNode): ConfigNode {
  const [first, second] = node.names;
  switch (node.kind.name) {
    case 'root':
      return root;
    case 'host':
      return root.group('hosts').get(first!)!;
    case 'subsystem':
      return root.group('subsystems').get(first!)!;
    case 'passthru':
      return root.group('subsystems').get(first!)!.only.get('passthru')!;
    case 'namespace':
      return root.group('subsystems').get(first!)!.group('namespaces').get(second!)!;
    case 'port':
      return root.group('ports').get(first!)!;
    case 'referral':
      return root.group('ports').get(first!)!.group('referrals').get(second!)!;
    case 'ana-group':
      return root.group('ports').get(first!)!.group('ana_groups').get(second!)!;
  }
}
