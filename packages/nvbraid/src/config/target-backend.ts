import { randomUUID } from 'node:crypto';
import { NvbraidError } from '@nvbraid/base';
import {
  DEFAULT_CQT_MS,
  derivedUuid,
  type FaultRule,
  type IdentityOptions,
  MAX_CONTROLLERS,
  MAX_IN_CAPSULE_BYTES,
  MAX_MDTS,
  MAX_QUEUE_SIZE,
  MIN_QUEUE_SIZE,
  type Port,
  type Subsystem,
} from '@nvbraid/target';
import { transportRow } from '@nvbraid/transport';
import { ANA_STATE_NAMES, AnaState, Treq } from '@nvbraid/wire';
import type { HostOptions } from '../host-block.ts';
import type { Target } from '../target.ts';
import type { AddPortOptions } from '../target-config.ts';
import { rowNameFor, rowProblem, usableRow } from '../transport-row.ts';
import { checkFile, Devices } from './devices.ts';
import { checkValue, type Edit, type Facts } from './edits.ts';
import { attributeOf, DEFAULT_ANA_GROUP } from './kinds.ts';
import type { Backend } from './transaction.ts';
import { type ConfigNode, find, findObject, nodePath, nodesOf } from './tree.ts';

export interface BackendOptions {
  /** Row of the transport table for ports of its trtype that do not name one. Default tcp. */
  readonly transport?: string;
  /** With what the target was made, by attribute of the root: what can be set only then. */
  readonly start?: Readonly<Record<string, string>>;
}

type Apply = (node: ConfigNode, value: string) => unknown;

/** Makes edits of the tree happen on a running target. */
export class TargetBackend implements Backend {
  readonly facts: Facts = {
    discovered: (nqn) => this.#isDiscovered(nqn),
    portProblem: (port) => rowProblem(transportRow(this.#rowOf(port))),
  };
  readonly devices = new Devices();
  readonly #target: Target;
  readonly #transport: string;
  readonly #discovered = new WeakSet<Subsystem>();
  /** Numbers of the protocol faults that the tree has. */
  #faults: readonly number[] = [];
  /** What a write to an attribute does, by kind and attribute; where there is none, the tree alone remembers it. */
  readonly #effects: Readonly<Record<string, Apply>>;

  constructor(target: Target, options: BackendOptions = {}) {
    this.#target = target;
    this.#transport = options.transport ?? 'tcp';
    for (const { subsystem } of target.core.controllers) if (subsystem !== null) this.#discovered.add(subsystem);
    target.on('controller-created', ({ subsystem }) => {
      if (subsystem !== null) this.#discovered.add(subsystem);
    });
    this.#effects = this.#table();
    this.#faults = target.faults.list().map(({ id }) => id); // `adopt` puts them into the tree
  }

  #isDiscovered(nqn: string): boolean {
    const subsystem = this.#target.core.subsystem(nqn);
    return subsystem !== undefined && this.#discovered.has(subsystem);
  }

  async apply(edit: Edit, tree: ConfigNode): Promise<void> {
    if (edit.op === 'set') {
      const node = findObject(tree, edit.path);
      const row = attributeOf(node.kind.name, edit.attribute)!;
      const value = checkValue(row, edit.value, edit.path);
      if (!row.writeOnly && value === node.get(row.name)) return;
      await this.#effects[`${node.kind.name} ${row.name}`]?.(node, value);
      return;
    }
    const found = find(tree, edit.path);
    if (edit.op === 'create') {
      if (found.what === 'nothing') await this.#create(found.parent, found.group, found.name);
    } else if (found.what === 'link') await this.#unlink(found.parent, found.group, found.name);
    else if (found.what === 'object') await this.#delete(found.node);
  }

  async check(from: ConfigNode, to: ConfigNode): Promise<void> {
    const had = [...nodesOf(from)].filter((node) => node.enabled);
    for (const node of nodesOf(to)) {
      const kind = node.kind.name;
      if (!node.enabled || (kind !== 'port' && kind !== 'namespace')) continue;
      // What the target itself holds now is free when its turn comes, or stays what it is.
      const key = kind === 'port' ? 'addr_trsvcid' : 'device_path';
      if (had.some((other) => other.kind.name === kind && other.get(key) === node.get(key))) continue;
      try {
        await (kind === 'port' ? this.#checkAddress(node) : checkFile(node));
      } catch (error) {
        throw named(error, nodePath(node));
      }
    }
  }

  #rowOf(node: ConfigNode): string {
    return node.get('nvbraid_transport') || rowNameFor(node.get('addr_trtype'), this.#transport);
  }

  /** Listens for a moment. */
  async #checkAddress(node: ConfigNode): Promise<void> {
    const port = Number(node.get('addr_trsvcid'));
    if (port === 0) return;
    try {
      const row = usableRow(this.#rowOf(node));
      const listener = await row.listen({ address: node.get('addr_traddr'), port }, (connection) => {
        connection.start({ received() {}, drained() {}, closed() {} });
        connection.destroy(null);
      });
      await listener.close();
    } catch (error) {
      throw explain(error, node);
    }
  }

  settled(): void {
    this.devices.settled();
  }

  // ---------------------------------------------------------------- objects and links

  async #create(parent: ConfigNode, group: string, name: string): Promise<void> {
    const { core } = this.#target;
    switch (group) {
      case 'subsystems':
        if (parent.kind.name === 'port') await this.#link(parent, name);
        else this.#target.addSubsystem({ nqn: name, allowAnyHost: false });
        return;
      case 'allowed_hosts':
        this.#subsystem(parent.name).allowHost(name);
        return;
      case 'ana_groups':
        core.port(Number(parent.name))?.addAnaGroup(Number(name), AnaState.Inaccessible);
        return;
    }
  }

  async #unlink(parent: ConfigNode, group: string, name: string): Promise<void> {
    if (group === 'allowed_hosts') {
      this.#subsystem(parent.name).removeHost(name);
      return;
    }
    const portId = Number(parent.name);
    const last = parent.linked('subsystems').size === 1 && parent.get('nvbraid_listen') === '0';
    if (last) await this.#target.removePort(portId);
    else this.#target.core.unlink(portId, name);
  }

  async #delete(node: ConfigNode): Promise<void> {
    const { core } = this.#target;
    switch (node.kind.name) {
      case 'host':
        if (node.get('nvbraid_limits') !== '') this.#target.hosts.setOptions(node.name, null);
        return;
      case 'subsystem':
        await this.#target.removeSubsystem(node.name);
        return;
      case 'namespace':
        if (node.enabled) await this.#target.removeNamespace(node.names[0]!, Number(node.name));
        this.devices.deleted(node);
        return;
      case 'port':
        if (node.enabled) await this.#target.removePort(Number(node.name));
        return;
      case 'ana-group':
        core.port(Number(node.names[0]))?.removeAnaGroup(Number(node.name));
        return;
      case 'referral':
        if (node.enabled) core.port(Number(node.names[0]))?.referrals.remove(node.name);
        return;
    }
  }

  #subsystem(nqn: string): Subsystem {
    const subsystem = this.#target.core.subsystem(nqn);
    if (subsystem === undefined) throw new NvbraidError('ENOENT', `there is no subsystem ${nqn}`);
    return subsystem;
  }

  // ---------------------------------------------------------------- attributes

  #table(): Readonly<Record<string, Apply>> {
    const { core } = this.#target;
    const identity =
      (key: keyof IdentityOptions, as: (value: string) => string | number = Number): Apply =>
      (node, value) =>
        this.#subsystem(node.name).setIdentity({ [key]: as(value) });
    return {
      'root discovery_nqn': (_node, value) => core.setDiscoveryNqn(value),
      'root nvbraid_limits': startOnly('nvbraid_limits'),
      'root nvbraid_state_directory': startOnly('nvbraid_state_directory'),
      'root nvbraid_host_defaults': (_node, value) =>
        this.#target.hosts.setDefaults(value === '' ? {} : (JSON.parse(value) as HostOptions)),
      'root nvbraid_faults': (_node, value) => this.#setFaults(value),
      'host nvbraid_limits': (node, value) =>
        this.#target.hosts.setOptions(node.name, value === '' ? null : (JSON.parse(value) as HostOptions)),
      'subsystem attr_allow_any_host': (node, value) => this.#subsystem(node.name).setAllowAnyHost(value === '1'),
      'subsystem attr_version': identity('version', String),
      'subsystem attr_serial': identity('serial', String),
      'subsystem attr_model': identity('model', String),
      'subsystem attr_firmware': identity('firmware', String),
      'subsystem attr_ieee_oui': identity('ieeeOui'),
      'subsystem attr_vendor_id': identity('vendorId'),
      'subsystem attr_subsys_vendor_id': identity('subsystemVendorId'),
      'subsystem attr_cntlid_min': (node, value) =>
        this.#subsystem(node.name).setCntlidRange(Number(value), Number(node.get('attr_cntlid_max'))),
      'subsystem attr_cntlid_max': (node, value) =>
        this.#subsystem(node.name).setCntlidRange(Number(node.get('attr_cntlid_min')), Number(value)),
      'subsystem attr_qid_max': (node, value) => this.#subsystem(node.name).setMaxIoQueues(Number(value)),
      'subsystem nvbraid_cqt_ms': (node, value) =>
        this.#subsystem(node.name).setCqt(value === '' ? DEFAULT_CQT_MS : Number(value)),
      'subsystem nvbraid_max_controllers': (node, value) =>
        this.#subsystem(node.name).setMaxControllers(value === '' ? MAX_CONTROLLERS : Number(value)),
      'namespace enable': (node, value) => (value === '1' ? this.#enable(node) : this.#disable(node)),
      'namespace ana_grpid': (node, value) => {
        if (node.enabled) this.#subsystem(node.names[0]!).setAnaGroup(Number(node.name), Number(value));
      },
      'namespace nvbraid_hosts': (node, value) => {
        if (node.enabled) this.#subsystem(node.names[0]!).setVisibility(Number(node.name), hostsOf(value));
      },
      'namespace revalidate_size': (node) => this.#target.revalidateNamespace(node.names[0]!, Number(node.name)),
      'port nvbraid_listen': (node, value) => this.#setListen(node, value === '1'),
      'ana-group ana_state': (node, value) => {
        core.port(Number(node.names[0]))?.setAnaState(Number(node.name), anaState(value));
      },
      'referral enable': (node, value) => {
        const port = core.port(Number(node.names[0]));
        if (port === undefined) return;
        if (value === '1') addReferral(port, node);
        else port.referrals.remove(node.name);
      },
    };
  }

  /** Those that somebody else has added stay. */
  #setFaults(value: string): void {
    const rules = value === '' ? [] : (JSON.parse(value) as FaultRule[]);
    const before = this.#faults;
    const added: number[] = [];
    try {
      for (const rule of rules) added.push(this.#target.faults.add(rule).id);
    } catch (error) {
      for (const id of added) this.#target.faults.remove(id);
      throw error;
    }
    const there = new Set(this.#target.faults.list().map(({ id }) => id));
    for (const id of before) if (there.has(id)) this.#target.faults.remove(id);
    this.#faults = added;
  }

  async #enable(node: ConfigNode): Promise<void> {
    const [nqn, nsid] = node.names as [string, string];
    const uuid = node.get('device_uuid');
    // What is in memory is new each time: hosts must not take it for what was there before.
    const fresh = node.get('nvbraid_memory') !== '' && uuid === derivedUuid(`${nqn}/${nsid}`);
    const eui64 = node.get('nvbraid_eui64');
    const nguid = node.get('device_nguid');
    await this.#target.addNamespace(nqn, {
      nsid: Number(nsid),
      device: await this.devices.specOf(node),
      ...(isNil(uuid) ? {} : { uuid: fresh ? randomUUID() : uuid }),
      ...(isNil(nguid) ? {} : { nguid }),
      ...(eui64 === '' ? {} : { eui64 }),
      ...(node.get('nvbraid_read_only') === '1' ? { readOnly: true } : {}),
      ...(node.get('nvbraid_filters') === '' ? {} : { filters: JSON.parse(node.get('nvbraid_filters')) }),
      ...(node.get('nvbraid_zoned') === '' ? {} : { zoned: JSON.parse(node.get('nvbraid_zoned')) }),
      reservations: node.get('resv_enable') === '1',
      anaGroupId: Number(node.get('ana_grpid')),
      hosts: hostsOf(node.get('nvbraid_hosts')),
    });
    this.devices.created(node);
  }

  #disable(node: ConfigNode): Promise<void> {
    return this.#target.removeNamespace(node.names[0]!, Number(node.name));
  }

  // ---------------------------------------------------------------- ports

  async #link(node: ConfigNode, nqn: string): Promise<void> {
    if (node.enabled) this.#target.core.link(Number(node.name), nqn);
    else await this.#open(node, nqn);
  }

  async #setListen(node: ConfigNode, listen: boolean): Promise<void> {
    if (node.linked('subsystems').size > 0) return; // it listens anyway
    if (listen) await this.#open(node, null);
    else await this.#target.removePort(Number(node.name));
  }

  /** Listens, with everything in place before the first host can come in. */
  async #open(node: ConfigNode, nqn: string | null): Promise<void> {
    const port = this.#target.addPort(portOptions(node), this.#rowOf(node));
    try {
      for (const group of node.group('ana_groups').values()) {
        const state = anaState(group.get('ana_state'));
        if (group.name === DEFAULT_ANA_GROUP) port.setAnaState(Number(group.name), state);
        else port.addAnaGroup(Number(group.name), state);
      }
      for (const referral of node.group('referrals').values()) if (referral.enabled) addReferral(port, referral);
      await this.#target.enablePort(port.portId);
      if (nqn !== null) this.#target.core.link(port.portId, nqn);
    } catch (error) {
      await this.#target.removePort(port.portId);
      throw explain(error, node);
    }
  }
}

const startOnly = (name: string) => (): void => {
  throw new NvbraidError('ENOTSUP', `${name} can be set only when the process starts: start it again`);
};

function portOptions(node: ConfigNode): AddPortOptions {
  const inline = Number(node.get('param_inline_data_size'));
  const queue = Number(node.get('param_max_queue_size'));
  const mdts = Number(node.get('param_mdts'));
  return {
    portId: Number(node.name),
    trtype: node.get('addr_trtype'),
    adrfam: node.get('addr_adrfam'),
    traddr: node.get('addr_traddr'),
    trsvcid: node.get('addr_trsvcid'),
    treq: TREQ[node.get('addr_treq')]! | Treq.DisableSqflow,
    allowFallback: node.get('nvbraid_allow_fallback') === '1',
    defaultAnaState: AnaState.Inaccessible,
    // As nvmet: what is too great is made as great as can be.
    ...(inline < 0 ? {} : { inCapsuleBytes: Math.min(inline, MAX_IN_CAPSULE_BYTES) & ~15 }),
    ...(queue < 0 ? {} : { maxQueueSize: Math.min(Math.max(queue, MIN_QUEUE_SIZE), MAX_QUEUE_SIZE) }),
    ...(mdts <= 0 ? {} : { mdts: Math.min(mdts, MAX_MDTS) }),
  };
}

const TREQ: Readonly<Record<string, number>> = {
  '': Treq.NotSpecified,
  'not specified': Treq.NotSpecified,
  required: Treq.Required,
  'not required': Treq.NotRequired,
};

function addReferral(port: Port, node: ConfigNode): void {
  port.referrals.add(node.name, {
    trtype: node.get('addr_trtype'),
    adrfam: node.get('addr_adrfam') || 'ipv4',
    traddr: node.get('addr_traddr'),
    trsvcid: node.get('addr_trsvcid'),
    treq: TREQ[node.get('addr_treq')]!,
    portId: Number(node.get('addr_portid')),
  });
}

function anaState(name: string): AnaState {
  return Number(Object.entries(ANA_STATE_NAMES).find(([, spelled]) => spelled === name)![0]) as AnaState;
}

function hostsOf(value: string): string[] | null {
  return value === '' ? null : (JSON.parse(value) as string[]);
}

function named(error: unknown, path: string): unknown {
  if (!(error instanceof NvbraidError)) return error;
  return new NvbraidError(error.code, `${path}: ${error.message}`, {
    cause: error,
    context: { ...error.context, path },
  });
}

function isNil(id: string): boolean {
  return /^[0-]*$/.test(id);
}

/** Says what to do about an address that cannot be had. */
function explain(error: unknown, node: ConfigNode): unknown {
  if (!(error instanceof NvbraidError)) return error;
  const where = `port ${node.get('addr_trsvcid')} on ${node.get('addr_traddr')}`;
  const options = { cause: error, context: error.context };
  if (error.code === 'EADDRINUSE') {
    const message = `${where} is in use; choose another addr_trsvcid, or stop the other process`;
    return new NvbraidError('EADDRINUSE', message, options);
  }
  if (error.code === 'EACCES') return new NvbraidError('EACCES', `no permission for ${where}`, options);
  if (error.context.errno === 'EADDRNOTAVAIL') {
    const message = `${node.get('addr_traddr')} is not an address of this machine; choose another addr_traddr, e.g. 0.0.0.0 for all`;
    return new NvbraidError('EINVAL', message, options);
  }
  return error;
}
