import { AdminOpcode, FabricsType } from '@nvbraid/wire';
import { type HostController, NvmeError } from 'nvbraid';

/**
 * Reads a property of a controller (Property Get; Base 2.1, 6.5).
 * @param wide it has 8 bytes, not 4
 * @throws NvmeError
 */
export async function readProperty(controller: HostController, offset: number, wide: boolean): Promise<bigint> {
  const { status, dw0, dw1 } = await controller.admin({
    opc: AdminOpcode.Fabrics,
    // The type of a Fabrics command stands where others have the namespace.
    nsid: FabricsType.PropertyGet,
    cdw10: wide ? 1 : 0,
    cdw11: offset,
  });
  if (status !== 0) throw new NvmeError(`Property Get of ${offset.toString(16)}h`, status, true);
  return wide ? (BigInt(dw1) << 32n) | BigInt(dw0) : BigInt(dw0);
}
