import { DNR, GetLogPageSqe, NSID_ALL, Status } from '@nvbraid/wire';
import { type AdminCommand, CONTROLLER_COMMAND } from '../controller-kind.ts';
import { MAX_DATA_TRANSFER_BYTES } from '../queue-limits.ts';
import { replyLength, replyPage } from './identify.ts';

/**
 * Get Log Page (Base 2.1, 5.1.12): any part of a page, from a dword aligned offset on; beyond its end come zeroes. Most
 * pages here belong to the controller or the subsystem, so that the command names no namespace, or all.
 */
export const getLogPage: AdminCommand = {
  effects: CONTROLLER_COMMAND,
  admit(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    const logPage = controller.kind.logPages.get(GetLogPageSqe.lid.get(view, base));
    if (logPage === undefined) return Status.InvalidLogPage | DNR;
    const nsid = GetLogPageSqe.nsid.get(view, base);
    if (logPage.perNamespace !== true && nsid !== 0 && nsid !== NSID_ALL) return Status.InvalidField | DNR;
    if (GetLogPageSqe.lpo.get(view, base) % 4 !== 0) return Status.InvalidField | DNR;
    // No page is made of entries that an index could count.
    if (GetLogPageSqe.ot.get(view, base) === 1) return Status.InvalidField | DNR;
    const bytes = (GetLogPageSqe.numd.get(view, base) + 1) * 4;
    if (bytes > MAX_DATA_TRANSFER_BYTES) return Status.InvalidField | DNR;
    return replyLength(request, bytes);
  },
  run(controller, request) {
    const { sqeView: view, sqeBase: base } = request;
    const lid = GetLogPageSqe.lid.get(view, base);
    const logPage = controller.kind.logPages.get(lid)!;
    const page = logPage.page(controller, request);
    if (typeof page === 'number') return page;
    const offset = GetLogPageSqe.lpo.get(view, base);
    if (offset > page.length) return Status.InvalidField | DNR;
    const nsid = GetLogPageSqe.nsid.get(view, base);
    const retain = GetLogPageSqe.rae.get(view, base) === 1;
    if (!replyPage(request, page, offset)) return 0;
    logPage.returned?.(controller, request);
    request.complete(0);
    if (!retain) {
      if (logPage.perNamespace !== true) controller.events.clear(lid);
      logPage.read?.(controller, nsid);
    }
    return 0;
  },
};
