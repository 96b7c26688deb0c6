#!/usr/bin/env node
// Plain JavaScript that an old Node can run too: finds a Node that can run nvbraid, or says in one sentence what is
// missing. In the clone the sources run as they are; a packed package starts what was compiled from them.
const [major, minor] = process.versions.node.split('.').map(Number);

if (major > 22 || (major === 22 && minor >= 18)) {
  const { main } = await import('../src/main.ts');
  await main();
} else {
  const [{ existsSync }, { fileURLToPath }, { spawn }] = await Promise.all([
    import('node:fs'),
    import('node:url'),
    import('node:child_process'),
  ]);
  // The clone brings its own Node; it is used when the machine's is too old.
  const pinned = fileURLToPath(new URL('../../../node_modules/.bin/node', import.meta.url));
  if (process.env.NVBRAID_PINNED_NODE === undefined && existsSync(pinned)) {
    const child = spawn(pinned, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
      stdio: 'inherit',
      env: { ...process.env, NVBRAID_PINNED_NODE: '1' },
    });
    // A terminal sends its signals to both; what comes to this process alone is passed on.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']) {
      process.on(signal, () => child.kill(signal));
    }
    child.on('error', (error) => {
      console.error(`nvbraid: cannot start ${pinned}: ${error.message}`);
      process.exitCode = 1;
    });
    child.on('close', (code, signal) => {
      process.exitCode = code ?? (signal === 'SIGKILL' ? 137 : 1);
    });
  } else {
    console.error(
      `nvbraid: Node ${process.version} is too old: install Node 22.18 or newer, or, in a clone, run npm ci, which brings one.`,
    );
    process.exitCode = 1;
  }
}
