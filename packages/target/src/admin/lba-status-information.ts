import { GetLogPageSqe, Scope } from '@nvbraid/wire';
import type { Feature, LogPage } from '../controller-kind.ts';
import { LBA_STATUS_REPORT_MS } from '../limits.ts';

/*
 * Who supports Get LBA Status for blocks that may be unrecoverable (OACS bit 9) must support these as well, and the alert
 * (NVM 1.1, 5.2.1).
 */

/** LID 0Eh. */
export const lbaStatusInformation: LogPage = {
  page: (controller, request) =>
    controller.lbaStatus.page(GetLogPageSqe.rae.get(request.sqeView, request.sqeBase) === 1),
  read: (controller) => controller.lbaStatus.read(),
};

/** Fid 15h: the report interval. The poll interval is ours to tell: hosts need not wait between reads. */
export const lbaStatusAttributes: Feature = {
  effects: { fsupp: 1, fsp: Scope.Controller },
  initial: () => LBA_STATUS_REPORT_MS / 100,
  current: (controller) => controller.lbaStatus.reportInterval,
  set(controller, dw11) {
    controller.lbaStatus.reportInterval = dw11 & 0xffff;
    return 0;
  },
};
