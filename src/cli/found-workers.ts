/** The fleet that a configuration describes: its workers, and whom it says to ask for more. */
import { readFileSync } from 'node:fs';
import { UPSTREAMS } from '../engines/upstreams.ts';
import type { KnownModel } from '../gateway/models.ts';
import type { Config } from '../model/config.ts';
import type { DiscoveryConfig, WorkerConfig } from '../model/fleet-config.ts';
import type { TenantId } from '../model/ids.ts';
import type { WorkerRules } from '../model/worker.ts';
import type { Discovery, Found } from '../planes/discovery.ts';
import { DnsDiscovery, type DnsLookup, dnsLookup } from '../planes/dns-discovery.ts';
import { FileDiscovery } from '../planes/file-discovery.ts';
import { Fleet, type FleetChange } from '../planes/fleet.ts';
import { KubernetesApi } from '../planes/kubernetes-api.ts';
import { KubernetesDiscovery } from '../planes/kubernetes-discovery.ts';
import type { Cancel, Clock, Sink, Upstream } from '../ports.ts';
import { checkTokens } from '../worker/token-check.ts';
import { Complaint } from './complaint.ts';
import { workersOf } from './read-config.ts';

/** A model whose prompts can be rendered here, or why they cannot. */
export type ServedHere = KnownModel & { templateProblem?: string | undefined };

interface World {
  clock: Clock;
  sink: Sink;
  /** By the names clients know them by. */
  models: ReadonlyMap<string, ServedHere>;
}

/** Between two questions to a worker who it is. */
const ASK_US = 2_000_000;
/** Texts on which tokenizers are compared when an engine is met; each is a question of its own. */
const SLICES = 40;
/** Whoever was found by somebody who is not asked any more stays so long for others to find. */
const HANDED_OVER_US_MAX = 30_000_000;
/** A Kubernetes API that fails is asked again after. */
const KUBERNETES_AGAIN = { againUsMin: 1_000_000, againUsMax: 30_000_000 } as const;
/** Who told of the workers that the configuration names. */
const NAMED = 'workers';
const NAMED_BEFORE = 'workers before';

export class FoundWorkers {
  readonly fleet: Fleet;
  readonly #world: World;
  /** By what the configuration says of each. */
  readonly #discoveries = new Map<string, Discovery>();
  #named: readonly Found[] = [];
  /** Of them, those that have not yet said whom they find. */
  readonly #silent = new Set<string>();
  /** Who told of workers and does so no more; those stay until the others have spoken. */
  readonly #retired = new Set<string>();
  #cancelHandOver: Cancel = () => {};

  constructor(config: Config, world: World) {
    this.#world = world;
    this.fleet = new Fleet({
      ...world,
      settings: {
        askUs: ASK_US,
        upstream: (worker) => upstreamOf(worker, config, world.models),
        rules: rulesOf,
      },
    });
    this.set(config);
  }

  /** Whom the configuration names and says to ask, from now on; throws a `Complaint`, and nothing is changed. */
  set({ workers, discovery }: Pick<Config, 'workers' | 'discovery'>): FleetChange {
    const made = new Map<string, Discovery>();
    for (const one of discovery) {
      const key = JSON.stringify(one);
      if (!this.#discoveries.has(key)) made.set(key, discoveryOf(one, this.#world));
    }
    const wanted = new Set(discovery.map((one) => JSON.stringify(one)));
    for (const [key, one] of this.#discoveries) {
      if (wanted.has(key)) continue;
      one.close();
      this.#discoveries.delete(key);
      this.#silent.delete(key);
      this.#retired.add(key);
    }
    // Whoever was named may be found from now on: until that is known it stays.
    if (made.size > 0) {
      this.fleet.set(NAMED_BEFORE, this.#named);
      this.#retired.add(NAMED_BEFORE);
    }
    this.#named = workers.map((config) => ({ config }));
    const change = this.fleet.set(NAMED, this.#named);
    for (const [key, one] of made) this.#begin(key, one);
    this.#cancelHandOver();
    if (this.#silent.size === 0) this.#handOver();
    else {
      const run = () => this.#handOver();
      this.#cancelHandOver = this.#world.clock.after(HANDED_OVER_US_MAX, run);
    }
    return change;
  }

  #begin(key: string, discovery: Discovery): void {
    this.#discoveries.set(key, discovery);
    this.#silent.add(key);
    discovery.watch((found) => {
      this.fleet.set(key, found);
      this.#silent.delete(key);
      if (this.#silent.size === 0) this.#handOver();
    });
  }

  /** All who are asked have said whom they find, or took too long: whom others found goes. */
  #handOver(): void {
    this.#cancelHandOver();
    for (const key of this.#retired) if (!this.#discoveries.has(key)) this.fleet.set(key, []);
    this.#retired.clear();
  }
}

function discoveryOf(config: DiscoveryConfig, { clock, sink }: World): Discovery {
  switch (config.from) {
    case 'dns': {
      const { servers, port, ...asked } = config;
      const given = { ...asked, port, clock, sink };
      return new DnsDiscovery({ ...given, lookup: lookupBy(servers) });
    }
    case 'file':
      return new FileDiscovery({ ...config, clock, sink, parse: workersOf });
    case 'kubernetes': {
      const { port, tokenFile, ca: caFile, ...asked } = config;
      const server = config.server ?? serverOfPod();
      const namespace = config.namespace ?? namespaceOfPod(config.namespaceFile);
      const api = new KubernetesApi({ server, tokenFile, caFile });
      const given = { ...asked, port, namespace, clock, sink, api };
      return new KubernetesDiscovery({ ...given, ...KUBERNETES_AGAIN });
    }
  }
}

function lookupBy(servers: readonly string[]): DnsLookup {
  try {
    return dnsLookup(servers);
  } catch {
    const sentence = `One of the name servers ${servers.join(', ')} is no address; one is like 10.0.0.2 or [fd00::2]:5353.`;
    throw new Complaint(sentence, 2);
  }
}

/** As each pod is told. */
function serverOfPod(): string {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (host !== undefined) return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  throw new Complaint(
    'This is no pod of a Kubernetes cluster, so discovery needs server: (the address of its API), tokenFile: and ca:.',
    2,
  );
}

function namespaceOfPod(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    throw new Complaint(`There is no ${path} that names the namespace; say namespace:.`, 2);
  }
}

function upstreamOf(
  worker: WorkerConfig,
  { limits }: Config,
  models: ReadonlyMap<string, ServedHere>,
): Upstream {
  const { ca, serverName } = worker;
  const trust =
    ca === undefined && serverName === undefined
      ? undefined
      : { ca: ca === undefined ? undefined : certificatesIn(ca), serverName };
  return UPSTREAMS[worker.kind]({
    config: { ...worker, key: worker.key ?? (process.env[worker.keyEnv ?? ''] || undefined) },
    trust,
    silenceUsMax: limits.engineSilenceUsMax,
    kvSecret: process.env.STATOR_KV_SECRET,
    known: (name) => renderable(models.get(name)),
    compareTokens: (tokens, tokenize) => checkTokens(tokens, tokenize, SLICES),
  });
}

function certificatesIn(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`the certificates in ${path} cannot be read (${code})`);
  }
  if (/-----BEGIN [A-Z ]*CERTIFICATE-----/.test(text)) return text;
  throw new Error(`there are no certificates (PEM) in ${path}`);
}

/** Conversations that can only be rendered by the engine pass through. */
function renderable(model: ServedHere | undefined): ServedHere | undefined {
  return model?.templateProblem === undefined ? model : undefined;
}

/** Without rules where it has none to tell: then nobody need ask. */
function rulesOf(worker: WorkerConfig): WorkerRules | undefined {
  const { role, adapters, taints, labels } = worker;
  const tenants = worker.tenants as TenantId[];
  const lists = [adapters, tenants, taints, Object.keys(labels)];
  const serves = role === 'both' && lists.every((list) => list.length === 0);
  return serves ? undefined : { role, adapters, tenants, taints, labels };
}
