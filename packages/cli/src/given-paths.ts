import { NvbraidError } from 'nvbraid';
import { formatAddress, onlySubsystem } from './association.ts';
import { type GivenPath, parsePath, samePath } from './path-option.ts';
import { UsageError } from './usage-error.ts';

/** The options that say how a subsystem is reached. */
interface GivenWays {
  readonly transport: string;
  readonly traddr: string | undefined;
  readonly trsvcid: number | undefined;
  readonly 'host-traddr': string | undefined;
  readonly 'host-iface': string | undefined;
  readonly path: readonly string[];
  readonly 'duplicate-connect': boolean;
}

/** The ways that the options name, -a first. @throws UsageError */
export function givenPaths(options: GivenWays): readonly [GivenPath, ...GivenPath[]] {
  const { transport, traddr, trsvcid = 4420 } = options;
  const host = {
    ...(options['host-traddr'] === undefined ? {} : { hostTraddr: options['host-traddr'] }),
    ...(options['host-iface'] === undefined ? {} : { hostIface: options['host-iface'] }),
  };
  const common = { transport, trsvcid };
  const paths: GivenPath[] = traddr === undefined ? [] : [{ ...common, ...host, traddr }];
  for (const text of options.path) paths.push({ ...host, ...parsePath(text, common) });
  const [first, ...others] = paths;
  if (first === undefined) throw new UsageError('-a is missing: the address of the target; --path names further ones');
  const twice = paths.find((path, i) => paths.slice(0, i).some((other) => samePath(path, other)));
  if (twice !== undefined && !options['duplicate-connect']) {
    throw new UsageError(`${formatAddress(twice.traddr, twice.trsvcid)} is given twice; -D connects it twice`);
  }
  return [first, ...others];
}

/** The only subsystem that the first target that answers tells about. */
export async function nqnByAny(
  paths: readonly GivenPath[],
  options: Parameters<typeof onlySubsystem>[1],
  signal: AbortSignal,
): Promise<string> {
  let failed: unknown;
  for (const path of paths) {
    try {
      return await onlySubsystem(path, options, signal);
    } catch (error) {
      failed ??= error;
      if (signal.aborted || (error instanceof NvbraidError && error.code === 'EINVAL')) break;
    }
  }
  throw failed;
}
