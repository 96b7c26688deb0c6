import { NvbraidError } from '@nvbraid/base';

/** Why there is no TLS, for whoever asks for it. */
export const NO_TLS = 'TLS is not built for tcp, and mptcp cannot have it: Linux has no TLS over Multipath TCP';

/** Options of nvme-cli by which TLS is asked for, as the library spells them. */
export interface TlsOptions {
  readonly tls?: boolean;
  readonly tlsKey?: string;
  readonly tlsKeyIdentity?: string;
  readonly keyring?: string;
  readonly concat?: boolean;
}

const NAMES = ['tls', 'tlsKey', 'tlsKeyIdentity', 'keyring', 'concat'] as const;

/** What asks for TLS must not be connected without it. @throws NvbraidError EINVAL */
export function refuseTls(options: TlsOptions): void {
  const name = NAMES.find((one) => options[one] !== undefined && options[one] !== false);
  if (name !== undefined) throw new NvbraidError('EINVAL', `${name} is no valid option: ${NO_TLS}`);
}
