import type { HostController, HostNamespace, ZonedNamespace } from 'nvbraid';

/** What commands work on: one controller, or a subsystem whose namespaces have several paths. */
export interface Connected {
  /** Answers admin commands. @throws NvbraidError EWOULDBLOCK while no controller is live */
  readonly admin: HostController;
  /** @throws NvbraidError ENOENT */
  namespace(nsid: number): HostNamespace;
  zoned(nsid: number): Promise<ZonedNamespace>;
}

export function oneController(controller: HostController): Connected {
  return {
    admin: controller,
    namespace: (nsid) => controller.namespace(nsid),
    zoned: (nsid) => controller.zoned(nsid),
  };
}
