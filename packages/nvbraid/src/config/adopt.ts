import type { FileDeviceSpec, MemoryDeviceSpec, PreparedDevice, PreparedZoned, ZonedOptions } from '@nvbraid/blockdev';
import {
  DEFAULT_CQT_MS,
  hexOf,
  MAX_CONTROLLERS,
  type Namespace,
  type Port,
  type Subsystem,
  versionText,
} from '@nvbraid/target';
import { ADRFAM_NAMES, ANA_STATE_NAMES, TRTYPE_NAMES } from '@nvbraid/wire';
import type { Target } from '../target.ts';
import type { PortListening } from '../target-ports.ts';
import type { Devices } from './devices.ts';
import { attributeOf } from './kinds.ts';
import { type ConfigNode, emptyTree, madeNode } from './tree.ts';

/**
 * The tree of a target that was configured by calls: what saving it writes. Devices that no attribute can describe (an
 * object, a null device) are shown without a path.
 */
export function adopt(target: Target, devices: Devices, start: Readonly<Record<string, string>> = {}): ConfigNode {
  const root = emptyTree();
  const faults = target.faults.list().map(({ rule }) => rule);
  const { defaults, own } = target.hosts;
  putAll(root, {
    discovery_nqn: target.core.discoveryNqn,
    ...(faults.length === 0 ? {} : { nvbraid_faults: JSON.stringify(faults) }),
    ...(Object.keys(defaults).length === 0 ? {} : { nvbraid_host_defaults: JSON.stringify(defaults) }),
    ...start,
  });
  for (const [hostnqn, limits] of own) {
    const host = madeNode('host', [hostnqn]);
    put(host, 'nvbraid_limits', JSON.stringify(limits));
    root.group('hosts').set(hostnqn, host);
  }
  for (const subsystem of target.core.subsystems) {
    root.group('subsystems').set(subsystem.nqn, subsystemNode(root, subsystem, target, devices));
  }
  for (const port of target.core.ports) {
    const node = portNode(port, target.listeningOf(port.portId));
    root.group('ports').set(node.name, node);
  }
  return root;
}

function put(node: ConfigNode, attribute: string, value: string): void {
  const row = attributeOf(node.kind.name, attribute)!;
  node.put(row, row.type.parse(value) ?? node.defaultOf(row));
}

function putAll(node: ConfigNode, values: Readonly<Record<string, string | number | boolean>>): void {
  for (const [name, value] of Object.entries(values)) {
    put(node, name, typeof value === 'boolean' ? (value ? '1' : '0') : String(value));
  }
}

function subsystemNode(root: ConfigNode, subsystem: Subsystem, target: Target, devices: Devices): ConfigNode {
  const node = madeNode('subsystem', [subsystem.nqn]);
  const { identity } = subsystem;
  putAll(node, {
    attr_allow_any_host: subsystem.allowAnyHost,
    attr_version: versionText(identity.version),
    attr_serial: identity.serial,
    attr_model: identity.model,
    attr_firmware: identity.firmware,
    attr_ieee_oui: identity.ieeeOui,
    attr_vendor_id: identity.vendorId,
    attr_subsys_vendor_id: identity.subsystemVendorId,
    attr_cntlid_min: subsystem.controllers.min,
    attr_cntlid_max: subsystem.controllers.max,
    attr_qid_max: subsystem.maxIoQueues,
    ...(subsystem.cqtMs === DEFAULT_CQT_MS ? {} : { nvbraid_cqt_ms: subsystem.cqtMs }),
    ...(subsystem.controllers.limit === MAX_CONTROLLERS
      ? {}
      : { nvbraid_max_controllers: subsystem.controllers.limit }),
  });
  for (const nqn of subsystem.allowedHosts) {
    if (!root.group('hosts').has(nqn)) root.group('hosts').set(nqn, madeNode('host', [nqn]));
    node.linked('allowed_hosts').add(nqn);
  }
  for (const namespace of subsystem.allocated) {
    const child = namespaceNode(subsystem.nqn, namespace, target, devices);
    node.group('namespaces').set(child.name, child);
  }
  return node;
}

function namespaceNode(nqn: string, namespace: Namespace, target: Target, devices: Devices): ConfigNode {
  const node = madeNode('namespace', [nqn, String(namespace.nsid)]);
  const { nguid, eui64, hosts } = namespace;
  putAll(node, {
    device_uuid: namespace.uuid,
    ...(nguid === null ? {} : { device_nguid: hexOf(nguid) }),
    ...(eui64 === null ? {} : { nvbraid_eui64: hexOf(eui64) }),
    ...(hosts === null ? {} : { nvbraid_hosts: JSON.stringify([...hosts]) }),
    ana_grpid: namespace.anaGroupId,
    resv_enable: namespace.reservations !== null,
    nvbraid_read_only: namespace.readOnly,
    nvbraid_block_size: namespace.blockSize,
    enable: namespace.enabled,
  });
  const filters = target.filters(nqn, namespace.nsid).config;
  if (filters.length > 0) put(node, 'nvbraid_filters', JSON.stringify(filters));
  let spec = namespace.device as PreparedDevice & { lower?: PreparedDevice };
  for (; spec.lower !== undefined; spec = spec.lower) {
    if (spec.kind === 'zoned') put(node, 'nvbraid_zoned', JSON.stringify(zonesOf(spec as PreparedZoned)));
  }
  if (spec.kind === 'file') {
    const file = spec as PreparedDevice & FileDeviceSpec;
    putAll(node, { device_path: file.path, nvbraid_shared: file.shared });
  } else if (spec.kind === 'memory') {
    const memory = spec as PreparedDevice & MemoryDeviceSpec;
    put(node, 'nvbraid_memory', String(memory.buffer.byteLength));
    devices.adopt(node, { ...memory } as MemoryDeviceSpec, namespace.blockSize);
  }
  return node;
}

/** What `zonedDevice` was given. */
function zonesOf({ zoneSize, zoneCapacity, maxOpen, maxActive }: PreparedZoned): ZonedOptions {
  return { zoneSize, zoneCapacity, maxOpen, maxActive };
}

function portNode(port: Port, { transport, allowFallback }: PortListening): ConfigNode {
  const node = madeNode('port', [String(port.portId)]);
  putAll(node, {
    addr_trtype: TRTYPE_NAMES[port.trtype] ?? '',
    addr_adrfam: ADRFAM_NAMES[port.adrfam] ?? '',
    addr_traddr: port.traddr,
    addr_trsvcid: port.trsvcid,
    nvbraid_transport: transport === TRTYPE_NAMES[port.trtype] ? '' : transport,
    nvbraid_allow_fallback: allowFallback,
    nvbraid_listen: port.enabled && port.subsystems.size === 0,
  });
  for (const grpid of port.anaGroups.ids()) {
    const group = madeNode('ana-group', [node.name, String(grpid)]);
    put(group, 'ana_state', ANA_STATE_NAMES[port.anaState(grpid)]!);
    node.group('ana_groups').set(group.name, group);
  }
  for (const referral of port.referrals.values()) {
    const child = madeNode('referral', [node.name, referral.name]);
    putAll(child, {
      addr_trtype: TRTYPE_NAMES[referral.trtype] ?? '',
      addr_adrfam: ADRFAM_NAMES[referral.adrfam] ?? '',
      addr_traddr: referral.traddr,
      addr_trsvcid: referral.trsvcid,
      addr_portid: referral.portId,
      enable: referral.enabled,
    });
    node.group('referrals').set(child.name, child);
  }
  for (const { nqn } of port.subsystems) node.linked('subsystems').add(nqn);
  return node;
}
