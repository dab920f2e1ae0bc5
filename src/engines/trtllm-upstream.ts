/**
 * A TensorRT-LLM server (`trtllm-serve`) that somebody else runs. It tells little of itself: which fields
 * its requests may have stands in its OpenAPI description, sizes in its statistics, once it ran anything.
 */
import type { WorkerId } from '../model/ids.ts';
import type { Finding } from '../model/worker.ts';
import type { Engine, FeedAddress, Introduction, Upstream } from '../ports.ts';
import { looseCount, looseList, looseObject, looseText } from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { compare, connect, introductionOf, modelAmong, tokenizerFinding } from './introduction.ts';
import { Presence } from './presence.ts';
import { type TrtllmDialect, TrtllmEngine } from './trtllm.ts';
import type { UpstreamGiven } from './upstream-given.ts';

const SILENCE_US = 10_000_000;

/** What every version takes; the rest only where its description says so. */
const ALWAYS = [
  ...['model', 'stream', 'stream_options', 'temperature', 'top_p', 'top_k', 'min_p', 'seed', 'n'],
  ...['repetition_penalty', 'frequency_penalty', 'presence_penalty', 'max_tokens', 'stop'],
  ...['skip_special_tokens', 'spaces_between_special_tokens', 'add_special_tokens', 'logprobs'],
  ...['response_format', 'messages', 'tools', 'tool_choice', 'top_logprobs'],
  'chat_template_kwargs',
];
/** Its default (`tokens_per_block`). */
const BLOCK_TOKENS = 32;

export class TrtllmUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;
  #known: { introduction: Introduction; dialect: TrtllmDialect } | undefined;
  /** Whoever comes behind nobody is another. */
  readonly #presence: Presence;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    this.#http = connect(given, { silenceUsMax: SILENCE_US });
    this.#presence = new Presence(this.#http, '/version');
  }

  async introduce(): Promise<Introduction> {
    const { version, run } = await this.#presence.ask();
    if (this.#known?.introduction.run === run) return this.#known.introduction;
    const { data } = looseObject(await this.#http.json('GET', '/v1/models'));
    const names = looseList(data).map((entry) => looseText(looseObject(entry).id));
    const model = modelAmong(names, this.#given);
    const { tokens, here } = await compare(this.#given, model, (text) => this.#tokenize(text));
    const stats = looseObject(
      looseList(await this.#http.json('GET', '/metrics').catch(() => [])).at(-1),
    );
    const { maxNumBlocks, tokensPerBlock } = looseObject(stats.kvCacheStats);
    const blocks = looseCount(maxNumBlocks);
    const blockTokens = looseCount(tokensPerBlock);
    const events = eventsOf(this.#given);
    const introduction = introductionOf(this.#given, {
      ...{ engine: 'trtllm', run, model, tokens, events },
      slots: looseCount(stats.maxNumActiveRequests),
      cacheTokens: blocks && blocks * (blockTokens ?? BLOCK_TOKENS),
      findings: [
        {
          check: 'version',
          well: true,
          says: `TensorRT-LLM ${version || 'of an unknown version'}`,
        },
        tokenizerFinding(tokens, model),
        blockFinding(blockTokens, here?.tokens.hasher.blockTokens),
      ],
      card: { version },
    });
    const endTexts = tokens?.differing === 0 && here !== undefined ? endsOf(here.tokens) : [];
    this.#known = { introduction, dialect: { model, endTexts, ...(await this.#fields()) } };
    return introduction;
  }

  engine(worker: WorkerId): Engine {
    if (this.#known === undefined) throw new Error('nobody introduced themselves yet');
    const http = connect(this.#given, this.#given);
    return new TrtllmEngine({ worker, http, dialect: this.#known.dialect });
  }

  close(): void {
    this.#http.close();
  }

  async #fields(): Promise<Pick<TrtllmDialect, 'completion' | 'chat'>> {
    const told = looseObject(await this.#http.json('GET', '/openapi.json').catch(() => ({})));
    const schemas = looseObject(looseObject(told.components).schemas);
    return {
      completion: fieldsOf(schemas.CompletionRequest),
      chat: fieldsOf(schemas.ChatCompletionRequest),
    };
  }

  /** Its newer versions have a route for it. */
  async #tokenize(prompt: string): Promise<number[]> {
    const body = { prompt };
    const { tokens } = looseObject(await this.#http.json('POST', '/_internal/tokenize', body));
    return looseList(tokens).map(Number);
  }
}

function fieldsOf(schema: unknown): ReadonlySet<string> {
  const told = Object.keys(looseObject(looseObject(schema).properties));
  // Its chats count the answer's tokens under either name.
  if (told.includes('max_completion_tokens')) told.push('max_tokens');
  return new Set(told.length > 0 ? told : ALWAYS);
}

/** It hands them out when asked, each once: nobody else may ask. */
function eventsOf({ config }: UpstreamGiven): FeedAddress {
  const { events, replay, url } = config;
  if (events !== undefined) return { endpoint: events, replay };
  return { endpoint: `${url.replace(/\/+$/, '')}/kv_cache_events`, replay: undefined };
}

function endsOf({
  endTokens,
  specials,
}: {
  endTokens: ReadonlySet<number>;
  specials: ReadonlyMap<number, string>;
}): string[] {
  return [...endTokens].flatMap((id) => specials.get(id) ?? []);
}

function blockFinding(blockTokens: number | undefined, expected: number | undefined): Finding {
  const check = 'block size';
  if (expected === undefined || blockTokens === expected) {
    return { check, well: true, says: `${blockTokens ?? BLOCK_TOKENS} tokens` };
  }
  if (blockTokens === undefined) {
    const says = `not told before it ran anything; its default is ${BLOCK_TOKENS}, and ${expected} are expected (blockTokens: of the model)`;
    return { check, well: expected === BLOCK_TOKENS, says };
  }
  const says = `its blocks have ${blockTokens} tokens, but ${expected} are expected, so its events cannot be used; set blockTokens: ${blockTokens} for the model`;
  return { check, well: false, says };
}
