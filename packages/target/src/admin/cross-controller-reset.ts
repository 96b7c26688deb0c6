import { CCR_LSP_RMC, CrossControllerResetSqe, crossControllerResetLog, GetLogPageSqe, Scope } from '@nvbraid/wire';
import type { AdminCommand, LogPage } from '../controller-kind.ts';

/** Cross-Controller Reset (Base 2.3, 5.4.3): ends a controller that the host does not reach any more. */
export const crossControllerReset: AdminCommand = {
  effects: { csupp: 1, csp: Scope.NvmSubsystem },
  run(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    return controller.resets.start(request, {
      cntlid: CrossControllerResetSqe.icid.get(view, base),
      ciu: CrossControllerResetSqe.ciu.get(view, base),
      cirn: CrossControllerResetSqe.cirn.get(view, base),
    });
  },
};

const HEADER_BYTES = 8;
const ENTRY_BYTES = 8;

/** LID 1Eh. With RMC, resets that are over are forgotten once their entries have been returned whole. */
export const crossControllerResets: LogPage = {
  page: (controller) => crossControllerResetLog(controller.resets.entries()),
  returned(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    if ((GetLogPageSqe.lsp.get(view, base) & CCR_LSP_RMC) === 0) return;
    const from = GetLogPageSqe.lpo.get(view, base) - HEADER_BYTES;
    const end = from + (GetLogPageSqe.numd.get(view, base) + 1) * 4;
    controller.resets.forget(Math.max(0, Math.ceil(from / ENTRY_BYTES)), Math.max(0, Math.floor(end / ENTRY_BYTES)));
  },
};
