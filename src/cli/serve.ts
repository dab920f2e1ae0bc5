/** `stator serve`: the gateway in front of engines that somebody else runs. */
import { readFileSync } from 'node:fs';
import { load as parseYaml } from 'js-yaml';
import { EngineHttp } from '../engines/http.ts';
import { StatorEngine } from '../engines/stator.ts';
import type { KnownModel } from '../gateway/models.ts';
import { Config, parseConfig } from '../model/config.ts';
import type { TenantId } from '../model/ids.ts';
import { StaticWorkers } from '../planes/static.ts';
import { buildGateway } from './build.ts';
import { Complaint } from './complaint.ts';
import { knownModel } from './load-model.ts';
import { refuseOpenHost } from './up.ts';

const BLOCK_TOKENS = 16;
const CARD_ASK_US = 2_000_000;
const CARD_SILENCE_US = 5_000_000;

/** Throws a `Complaint` that names the file and each mistake in it. */
export function readConfig(path: string): Config {
  let input: unknown;
  try {
    input = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new Complaint(`The configuration ${path} cannot be read: ${reason}.`, 2);
  }
  const parsed = parseConfig(Config, input);
  if (parsed.kind === 'ok') return parsed.value;
  throw new Complaint(`The configuration ${path} is wrong: ${parsed.sentences.join('; ')}.`, 2);
}

export async function serve(config: Config): Promise<void> {
  refuseOpenHost(config);
  if (config.workers.length === 0) {
    throw new Complaint('The configuration names no workers; add at least one under workers:.', 2);
  }
  const models = new Map<string, KnownModel>();
  const aliases = new Map<string, string>();
  for (const { name, path, aliases: others } of config.models) {
    const known = { blockTokens: BLOCK_TOKENS, limits: config.limits };
    if (path !== undefined) models.set(name, knownModel(path, known));
    for (const other of others) aliases.set(other, name);
  }
  const { engineSilenceUsMax } = config.limits;
  const gateway = buildGateway({
    config,
    models,
    aliases,
    log: (line) => process.stderr.write(`${line}\n`),
    directory: (clock, sink) =>
      new StaticWorkers({
        clock,
        sink,
        settings: {
          workers: config.workers.map(staticWorker),
          fetchCard,
          engine: (worker, url) =>
            new StatorEngine({
              worker,
              url,
              silenceUsMax: engineSilenceUsMax,
              kvSecret: process.env.STATOR_KV_SECRET,
            }),
          movesKv: process.env.STATOR_KV_SECRET !== undefined,
          askUs: CARD_ASK_US,
        },
      }),
  });
  const { host, port } = config.listen;
  const listening = await gateway.server
    .listen(host, port)
    .catch((error: NodeJS.ErrnoException) => {
      throw new Complaint(
        `Cannot listen on ${host}:${port} (${error.code}); choose others with --port.`,
      );
    });
  process.stdout.write(`stator serves on http://${host}:${listening}\n`);
  const stop = () => void gateway.close().finally(() => process.exit(0));
  process.once('SIGINT', stop).once('SIGTERM', stop);
}

async function fetchCard(url: string): Promise<unknown> {
  const http = new EngineHttp({ url, silenceUsMax: CARD_SILENCE_US, headers: {} });
  try {
    return await http.json('GET', '/stator/v1/card');
  } finally {
    http.close();
  }
}

/** Without rules where it has none to tell: then nobody need ask. */
function staticWorker(config: Config['workers'][number]) {
  const { url, events, replay, role, adapters, taints, labels } = config;
  const tenants = config.tenants as TenantId[];
  const lists = [adapters, tenants, taints, Object.keys(labels)];
  const serves = role === 'both' && lists.every((list) => list.length === 0);
  const rules = serves ? undefined : { role, adapters, tenants, taints, labels };
  return { url, events, replay, rules };
}
