/**
 * A gateway's configuration, read again while requests run: when its file changes, and on SIGHUP. What can
 * change does, what cannot is named, and a file with a mistake changes nothing.
 */
import { POLICY_NAMES } from '../kernel/route/policies.ts';
import type { Config } from '../model/config.ts';
import type { FleetChange } from '../planes/fleet.ts';
import { Complaint } from './complaint.ts';
import { configOf, readText } from './read-config.ts';
import { refuseOpenHost } from './up.ts';

export interface ReloadParts {
  path: string;
  /** As it runs. */
  config: Config;
  workers: { set(config: Config): FleetChange };
  gateway: { change(config: Config): void };
  /** Loads the model of that name, so that its prompts can be rendered; throws a `Complaint`. */
  load: (model: Config['models'][number]) => () => void;
  /** What came of it. */
  say: (sentence: string) => void;
  complain: (sentence: string) => void;
}

/** Of limits: what is looked at anew for each request. */
const LIMITS_LIVE: readonly string[] = [
  'queueUsMax',
  'streamQueueUsMax',
  'holdUs',
  'keepAliveUs',
  'readerUsMax',
  'drainUs',
];

export class Reload {
  readonly #parts: ReloadParts;
  #text: string | undefined;
  /** What was asked for last, also of what needs a restart. */
  #config: Config;
  /** How it was when it was first read, by what needs a restart to be another. */
  readonly #fixed: Map<string, string>;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
    this.#config = parts.config;
    this.#fixed = fixedOf(parts.config);
  }

  /** The file as it is now. */
  again(): void {
    let text: string;
    try {
      text = readText(this.#parts.path);
    } catch (error) {
      return this.#refused(error);
    }
    this.#read(text);
  }

  /** What the file holds now, if that is not what was read last. */
  read(text: string): void {
    if (text !== this.#text) this.#read(text);
  }

  #read(text: string): void {
    this.#text = text;
    try {
      this.#take(configOf(text, this.#parts.path));
    } catch (error) {
      this.#refused(error);
    }
  }

  #take(next: Config): void {
    const { gateway, workers, load, path, say } = this.#parts;
    refuseOpenHost({ ...next, listen: this.#parts.config.listen });
    refusePolicies(next);
    const loads = next.models
      .filter(({ name }) => !this.#fixed.has(MODEL + name))
      .map((model) => load(model));
    const fleet = workers.set(next);
    for (const put of loads) put();
    gateway.change(next);
    const said = [...fleetWords(fleet), ...this.#liveWords(next)];
    const fixed = this.#restartWords(next);
    for (const [name, value] of fixedOf(next)) {
      if (name.startsWith(MODEL) && !this.#fixed.has(name)) this.#fixed.set(name, value);
    }
    this.#config = next;
    const what = said.length === 0 ? 'nothing is new' : said.join(', ');
    const rest = fixed.length === 0 ? '' : `; only a restart changes ${fixed.join(', ')}`;
    say(`${path} was read again: ${what}${rest}.`);
  }

  #refused(error: unknown): void {
    if (!(error instanceof Complaint)) throw error;
    this.#parts.complain(`${error.message} Nothing was changed.`);
  }

  #liveWords(next: Config): string[] {
    const live = (of: Config): Record<string, unknown> => ({
      keys: [of.keys.map(({ key, tenant, admin }) => [key, tenant, admin]), of.trustedProxies],
      models: of.models.map(({ name, aliases, split, fallbacks }) => [
        name,
        aliases,
        split,
        fallbacks,
      ]),
      discovery: of.discovery,
      policy: of.policy,
      runaway: of.runaway,
      limits: Object.entries(of.limits).filter(([name]) => LIMITS_LIVE.includes(name)),
    });
    const before = live(this.#config);
    const now = live(next);
    return Object.keys(now).filter(
      (name) => JSON.stringify(now[name]) !== JSON.stringify(before[name]),
    );
  }

  /** What is not as it runs. */
  #restartWords(next: Config): string[] {
    const wanted = fixedOf(next);
    const names = new Set([...this.#fixed.keys(), ...wanted.keys()]);
    // A model that is new, or gone, is a change that takes no restart.
    const isThere = (name: string) => this.#fixed.has(name) && wanted.has(name);
    return [...names].filter(
      (name) =>
        (isThere(name) || !name.startsWith(MODEL)) && wanted.get(name) !== this.#fixed.get(name),
    );
  }
}

const MODEL = 'models: ';

/** What is looked at once, at the start, by its name in the file. */
function fixedOf(config: Config): Map<string, string> {
  const fixed = new Map<string, string>();
  const { keys, models, limits, listen, normalise, store, ...rest } = config;
  const { trustedProxies, workers, discovery, policy, runaway, ...others } = rest;
  const put = (name: string, value: unknown) => fixed.set(name, JSON.stringify(value) ?? '');
  for (const [name, value] of Object.entries({ listen, normalise, store, ...others })) {
    put(name, value);
  }
  for (const [name, value] of Object.entries(limits)) {
    if (!LIMITS_LIVE.includes(name)) put(`limits.${name}`, value);
  }
  const weighted = keys.filter(({ weight = 1 }) => weight !== 1);
  const governed = models.filter((model) => model.policy !== undefined);
  put(
    'weights of keys',
    weighted.map(({ tenant, weight }) => [tenant, weight]),
  );
  put(
    'policies of models',
    governed.map((model) => [model.name, model.policy]),
  );
  for (const { name, path, blockTokens } of models) put(`${MODEL}${name}`, [path, blockTokens]);
  return fixed;
}

function refusePolicies({ policy, models }: Config): void {
  for (const name of [policy, ...models.map((model) => model.policy)]) {
    if (name === undefined || POLICY_NAMES.includes(name)) continue;
    const sentence = `There is no policy '${name}'; choose one of ${POLICY_NAMES.join(', ')}.`;
    throw new Complaint(sentence, 2);
  }
}

function fleetWords({ added, removed, changed }: FleetChange): string[] {
  const words: string[] = [];
  const count = (n: number) => `${n} worker${n === 1 ? '' : 's'}`;
  if (added > 0) words.push(`${count(added)} more`);
  if (removed > 0) words.push(`${count(removed)} fewer`);
  if (changed > 0) words.push(`${count(changed)} changed`);
  return words;
}
