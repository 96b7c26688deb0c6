import {
  Adrfam,
  DISCOVERY_CNTLID_DYNAMIC,
  DISCOVERY_NQN,
  type DiscoveryEntry,
  discoveryLog,
  Eflags,
  GetLogPageSqe,
  Subtype,
} from '@nvbraid/wire';
import type { Controller, LocalAddress } from './controller.ts';
import type { LogPage } from './controller-kind.ts';
import { ADMIN_QUEUE_ENTRIES } from './limits.ts';
import type { Port } from './port.ts';
import type { Referral } from './referrals.ts';
import type { Target } from './target.ts';

/** LSP of the discovery log: entries of the port that is asked only (Base 2.1, 5.1.12.3.1). */
const LSP_PORT_LOCAL = 0x02;
/** LIDSP of LID 70h in the list of supported pages: LSP_PORT_LOCAL is honoured. */
const PORT_LOCAL_SUPPORTED = 0x02;

/**
 * LID 70h (Base 2.1, 5.1.12.3.1): first the discovery subsystem itself at the port that was asked, then every subsystem
 * that this host may use, once for each port that leads to it, then the referrals of the port. Extended entries, which
 * the host may ask for, are not supported: their bit in LIDSP is 0, and plain entries are a legal answer to the request.
 */
export const discoveryLogPage: LogPage = {
  lidsp: PORT_LOCAL_SUPPORTED,
  page(controller, request) {
    const lsp = GetLogPageSqe.lsp.get(request.sqeView, request.sqeBase);
    const local = controller.target.discoveryScope === 'port' || (lsp & LSP_PORT_LOCAL) !== 0;
    return discoveryLog(controller.target.generation, discoveryEntries(controller, local));
  },
};

/** @param portLocal leaves out what other ports lead to */
export function discoveryEntries(controller: Controller, portLocal: boolean): Partial<DiscoveryEntry>[] {
  const { target, port, local } = controller;
  const entries: Partial<DiscoveryEntry>[] = [];
  const own = entryFor(port, local);
  if (own !== null) {
    entries.push({
      ...own,
      subtype: Subtype.CurrentDiscovery,
      subnqn: target.discoveryNqn,
      // Connections may be kept with a Keep Alive Timeout.
      eflags: Eflags.Epcsd | (everyPortTellsTheSame(target) ? Eflags.Dupretinfo : 0),
    });
  }
  for (const subsystem of target.subsystems) {
    if (!subsystem.allows(controller.hostnqn)) continue;
    for (const linked of subsystem.ports) {
      if (portLocal && linked !== port) continue;
      const entry = entryFor(linked, local);
      if (entry !== null) entries.push({ ...entry, subtype: Subtype.Nvme, subnqn: subsystem.nqn });
    }
  }
  for (const referral of port.referrals.enabled) entries.push(referralEntry(referral));
  return entries;
}

function everyPortTellsTheSame(target: Target): boolean {
  if (target.discoveryScope === 'port') return false;
  for (const port of target.ports) if (port.referrals.enabled.length > 0) return false;
  return true;
}

function referralEntry(referral: Referral): Partial<DiscoveryEntry> {
  return {
    trtype: referral.trtype,
    adrfam: referral.adrfam,
    subtype: Subtype.Referral,
    treq: referral.treq,
    portid: referral.portId,
    cntlid: DISCOVERY_CNTLID_DYNAMIC,
    asqsz: ADMIN_QUEUE_ENTRIES,
    trsvcid: referral.trsvcid,
    subnqn: DISCOVERY_NQN,
    traddr: referral.traddr,
  };
}

/** What an entry says about a port; null for a wildcard address that nothing is known to replace. */
function entryFor(port: Port, local: LocalAddress | null): Partial<DiscoveryEntry> | null {
  const address = reachableAddress(port, local);
  if (address === null) return null;
  return {
    trtype: port.trtype,
    adrfam: address.adrfam,
    treq: port.treq,
    portid: port.portId,
    cntlid: DISCOVERY_CNTLID_DYNAMIC,
    asqsz: ADMIN_QUEUE_ENTRIES,
    trsvcid: port.trsvcid,
    traddr: address.traddr,
    tsas: Uint8Array.of(port.sectype),
  };
}

/**
 * The address under which the host that asks can reach a port. A port that listens on all addresses is reached under the
 * one that the host came to, if that is of a family that the port serves.
 */
function reachableAddress(port: Port, local: LocalAddress | null): { traddr: string; adrfam: number } | null {
  const any4 = port.adrfam === Adrfam.Ipv4 && port.traddr === '0.0.0.0';
  const any6 = port.adrfam === Adrfam.Ipv6 && /^[0:]+$/.test(port.traddr);
  if (!any4 && !any6) return { traddr: port.traddr, adrfam: port.adrfam };
  if (local === null) return null;
  // An IPv4 address that an IPv6 socket shows is reached as IPv4; a listener on :: takes both.
  const traddr = local.traddr.replace(/^::ffff:(?=\d+\.)/i, '');
  const adrfam = traddr.includes(':') ? Adrfam.Ipv6 : Adrfam.Ipv4;
  return any4 && adrfam === Adrfam.Ipv6 ? null : { traddr, adrfam };
}
