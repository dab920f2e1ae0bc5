/** llama.cpp's own server, which somebody else runs: asked for its properties, its model and what its slots allow. */
import { UPSTREAM_DEFAULTS } from '../model/fleet-config.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Finding } from '../model/worker.ts';
import type { Engine, Introduction, Tokens, Upstream } from '../ports.ts';
import {
  type Loose,
  looseCount,
  looseList,
  looseObject,
  looseText,
} from '../wire/upstream-json.ts';
import type { EngineHttp } from './http.ts';
import { compare, connect, introductionOf, modelAmong, tokenizerFinding } from './introduction.ts';
import { type LlamaServerDialect, LlamaServerEngine } from './llama-server.ts';
import type { UpstreamGiven } from './upstream-given.ts';

const SILENCE_US = 10_000_000;

export class LlamaServerUpstream implements Upstream {
  readonly #given: UpstreamGiven;
  readonly #http: EngineHttp;
  #known: { introduction: Introduction; dialect: LlamaServerDialect } | undefined;

  constructor(given: UpstreamGiven) {
    this.#given = given;
    this.#http = connect(given, { silenceUsMax: SILENCE_US });
  }

  async introduce(): Promise<Introduction> {
    const props = looseObject(await this.#http.json('GET', '/props'));
    // Drawn anew by each process.
    const run = `${looseText(props.build_info)} ${looseText(props.media_marker)}`;
    if (this.#known?.introduction.run === run) return this.#known.introduction;
    const { data } = looseObject(await this.#http.json('GET', '/v1/models'));
    const names = looseList(data).map((entry) => looseText(looseObject(entry).id));
    const own = modelAmong(names, this.#given);
    // By default it calls its model by the path of its file.
    const model = own.replace(/^.*[\\/]/, '').replace(/\.gguf$/, '');
    const { tokens, here } = await compare(this.#given, model, (text) => this.#tokenize(text));
    const slots = looseCount(props.total_slots) ?? 1;
    const contextTokens = looseCount(looseObject(props.default_generation_settings).n_ctx);
    const savesSlots = await this.#savesSlots();
    const introduction = introductionOf(this.#given, {
      ...{ engine: 'llama-server', run, model, tokens, contextTokens, slots },
      cacheTokens: contextTokens && contextTokens * slots,
      takesWishes: savesSlots,
      findings: [
        version(props),
        tokenizerFinding(tokens, this.#given.config.model ?? model),
        saving(savesSlots),
      ],
      card: { build: looseText(props.build_info), slots, contextTokens, savesSlots },
    });
    const dialect = {
      ...{ model: own, slots, savesSlots },
      blockTokens: introduction.worker.blockTokens || UPSTREAM_DEFAULTS.blockTokens,
      shown: tokens?.differing === 0 && here !== undefined ? shownOf(here.tokens) : [],
    };
    this.#known = { introduction, dialect };
    return introduction;
  }

  engine(worker: WorkerId): Engine {
    if (this.#known === undefined) throw new Error('nobody introduced themselves yet');
    const http = connect(this.#given, this.#given);
    return new LlamaServerEngine({ worker, http, dialect: this.#known.dialect });
  }

  close(): void {
    this.#http.close();
  }

  async #tokenize(content: string): Promise<number[]> {
    const body = { content, add_special: false, parse_special: true };
    const { tokens } = looseObject(await this.#http.json('POST', '/tokenize', body));
    return looseList(tokens).map(Number);
  }

  /** Where it can it says that this is no name of a file, and else that it cannot. */
  async #savesSlots(): Promise<boolean> {
    const body = { filename: '../' };
    return await this.#http.json('POST', '/slots/0?action=restore', body).then(
      () => true,
      (error: Error) => /filename/i.test(error.message),
    );
  }
}

/** Special tokens that models write in answers; those that end them, and those kept for nobody, stay hidden. */
function shownOf({ specials, endTokens }: Tokens): string[] {
  return [...specials]
    .filter(([id, text]) => !endTokens.has(id) && !/reserved|unused|fim|pad|repo|file/i.test(text))
    .map(([, text]) => text);
}

function version(props: Loose): Finding {
  const build = looseText(props.build_info) || 'of an unknown build';
  return { check: 'version', well: true, says: `llama.cpp ${build}` };
}

function saving(savesSlots: boolean): Finding {
  const check = 'slot saving';
  if (savesSlots) return { check, well: true, says: 'on: KV of idle threads can wait in files' };
  const says =
    'off: nothing of its KV can be parked, brought back or emptied; add --slot-save-path FOLDER';
  return { check, well: false, says };
}
