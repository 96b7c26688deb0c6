import { DNR, FeatureCapabilities, FeatureSelect, FeaturesSqe, NSID_ALL, Status } from '@nvbraid/wire';
import type { Controller } from '../controller.ts';
import { type AdminCommand, CONTROLLER_COMMAND, type Feature } from '../controller-kind.ts';
import type { Namespace } from '../namespace.ts';
import type { Request } from '../request.ts';
import { namespaceOf, replyLength, replyPage } from './identify.ts';

/** Get Features (Base 2.1, 5.1.11). Nothing can be saved, so the saved value is the default (Base 2.1, 4.4). */
export const getFeatures: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  admit(controller, request) {
    request.dataLength = 0;
    const feature = featureOf(controller, request);
    if (feature === undefined || select(request) > FeatureSelect.Capabilities) return Status.InvalidField | DNR;
    if (feature.data === undefined || select(request) === FeatureSelect.Capabilities) return 0;
    const dw11 = FeaturesSqe.dw11.get(request.sqeView, request.sqeBase);
    return feature.check?.(controller, dw11, false, []) || replyLength(request, feature.data(controller, true).length);
  },
  run(controller, request) {
    const feature = featureOf(controller, request)!;
    const sel = select(request);
    if (sel === FeatureSelect.Capabilities) {
      request.complete(0, capabilities(feature));
      return 0;
    }
    let namespace: Namespace | null = null;
    if (feature.namespaceSpecific === true) {
      const named = namespaceOf(controller, request);
      if (typeof named === 'number') return named;
      if (named === null) return Status.InvalidNamespaceOrFormat | DNR;
      namespace = named;
    }
    const dw11 = FeaturesSqe.dw11.get(request.sqeView, request.sqeBase);
    const refused = feature.check?.(controller, dw11, false, namespace === null ? [] : [namespace]) ?? 0;
    if (refused !== 0) return refused;
    const current = sel === FeatureSelect.Current;
    if (feature.data !== undefined && !replyPage(request, feature.data(controller, current), 0)) return 0;
    request.complete(0, current ? feature.current(controller, dw11, namespace) : feature.initial(controller, dw11));
    return 0;
  },
};

/** Set Features (Base 2.1, 5.1.25). */
export const setFeatures: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  admit(controller, request) {
    return replyLength(request, featureOf(controller, request)?.inputBytes ?? 0);
  },
  run(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    const feature = featureOf(controller, request);
    if (feature === undefined) return Status.InvalidField | DNR;
    if (FeaturesSqe.sv.get(view, base) === 1) return Status.FeatureIdentifierNotSaveable | DNR;
    const namespaces = namespacesToSet(controller, request, feature);
    if (typeof namespaces === 'number') return namespaces;
    const dw11 = FeaturesSqe.dw11.get(view, base);
    const refused = feature.check?.(controller, dw11, true, namespaces) ?? 0;
    if (refused !== 0) return refused;
    if (feature.take !== undefined) {
      const status = feature.take(controller, request.dataMemory.view, request.dataOffset);
      if (status === 0) request.complete(0);
      return status;
    }
    if (feature.setLater !== undefined) {
      feature.setLater(controller, dw11, namespaces, (status) => request.complete(status));
      return 0;
    }
    const status = feature.set?.(controller, dw11, namespaces) ?? constant(controller, feature, dw11);
    if (status !== 0) return status;
    request.complete(0, feature.answersSet === true ? feature.current(controller, dw11, null) : 0);
    return 0;
  },
};

/** The namespaces whose value Set Features changes: the one that is named, or all; or a status. */
function namespacesToSet(controller: Controller, request: Request, feature: Feature): readonly Namespace[] | number {
  const nsid = FeaturesSqe.nsid.get(request.sqeView, request.sqeBase);
  if (feature.namespaceSpecific !== true) {
    return nsid !== 0 && nsid !== NSID_ALL ? Status.FeatureNotNamespaceSpecific | DNR : [];
  }
  if (nsid === NSID_ALL) {
    return (controller.subsystem?.namespaces ?? []).filter((namespace) => namespace.visibleTo(controller.hostnqn));
  }
  const namespace = namespaceOf(controller, request);
  if (typeof namespace === 'number') return namespace;
  return namespace === null ? Status.InvalidNamespaceOrFormat | DNR : [namespace];
}

function featureOf(controller: Controller, request: Request): Feature | undefined {
  return controller.kind.features.get(FeaturesSqe.fid.get(request.sqeView, request.sqeBase));
}

function select(request: Request): number {
  return FeaturesSqe.sel.get(request.sqeView, request.sqeBase);
}

function constant(controller: Controller, feature: Feature, dw11: number): number {
  return dw11 === feature.current(controller, dw11, null) ? 0 : Status.FeatureNotChangeable | DNR;
}

function capabilities(feature: Feature): number {
  const view = new DataView(new ArrayBuffer(4));
  FeatureCapabilities.emit(view, 0, {
    saveable: 0,
    namespaceSpecific: feature.namespaceSpecific === true ? 1 : 0,
    changeable: (feature.set ?? feature.setLater ?? feature.take) === undefined ? 0 : 1,
  });
  return view.getUint32(0, true);
}
