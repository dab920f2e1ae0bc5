/** `stator serve`: the gateway in front of engines that somebody else runs. */
import type { Config } from '../model/config.ts';
import { WallClock } from '../planes/wall-clock.ts';
import { WatchedFile } from '../planes/watched-file.ts';
import { buildGateway, type Gateway } from './build.ts';
import { Complaint } from './complaint.ts';
import { FoundWorkers, type ServedHere } from './found-workers.ts';
import { knownModel } from './load-model.ts';
import { configOf, readText } from './read-config.ts';
import { Reload, type ReloadParts } from './reload.ts';
import { refuseOpenHost } from './up.ts';

/** The configuration is looked at so often. */
const LOOK_US = 1_000_000;

/** By a file, which is read again as it changes. */
export async function serveFile(path: string): Promise<void> {
  const text = readText(path);
  await serve(configOf(text, path), { path, text });
}

/** `file`: where the configuration stands, and as what it was read; undefined: it stays as it is. */
export async function serve(config: Config, file?: { path: string; text: string }): Promise<void> {
  refuseOpenHost(config);
  if (config.workers.length === 0 && config.discovery.length === 0) {
    throw new Complaint(
      'The configuration names no workers; add at least one under workers:, or under discovery: where they are found.',
      2,
    );
  }
  const models = new Map<string, ServedHere>();
  const load = (model: Config['models'][number]) => loaded(model, config, models);
  for (const model of config.models) load(model)();
  // Made by what is built of it.
  let workers!: FoundWorkers;
  const gateway = buildGateway({
    config,
    models,
    log: (line) => process.stderr.write(`${line}\n`),
    directory: (clock, sink) => {
      workers = new FoundWorkers(config, { clock, sink, models });
      return workers.fleet;
    },
  });
  await listen(gateway, config);
  const reloading = file && reloadedFrom(file, { path: file.path, config, workers, gateway, load });
  const stop = () => {
    reloading?.close();
    void gateway.close().finally(() => process.exit(0));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

function reloadedFrom(
  { path, text }: { path: string; text: string },
  parts: Omit<ReloadParts, 'say' | 'complain'>,
): WatchedFile {
  const complain = (sentence: string) => process.stderr.write(`stator: ${sentence}\n`);
  const say = (sentence: string) => process.stdout.write(`stator: ${sentence}\n`);
  const reload = new Reload({ ...parts, say, complain });
  process.on('SIGHUP', () => reload.again());
  return new WatchedFile({
    ...{ clock: new WallClock(), path, everyUs: LOOK_US, known: text },
    on: (changed) => reload.read(changed),
    unreadable: (reason) => complain(`${path} cannot be read any more (${reason}).`),
  });
}

async function listen(gateway: Gateway, { listen: { host, port } }: Config): Promise<void> {
  const listening = await gateway.server
    .listen(host, port)
    .catch((error: NodeJS.ErrnoException) => {
      throw new Complaint(
        `Cannot listen on ${host}:${port} (${error.code}); choose others with --port.`,
      );
    });
  process.stdout.write(`stator serves on http://${host}:${listening}\n`);
}

/** Reads it; what is returned puts it where requests find it. */
function loaded(
  { name, path, blockTokens }: Config['models'][number],
  { limits }: Config,
  models: Map<string, ServedHere>,
): () => void {
  if (path === undefined) return () => {};
  try {
    const model = knownModel(path, { blockTokens, limits });
    return () => void models.set(name, model);
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new Complaint(`The model at ${path} cannot be used: ${reason}`, 2);
  }
}
