/**
 * The stream of SGLang's own route, `POST /generate`:
 *
 *   {"text", "output_ids", "index"?, "meta_info": {"id", "prompt_tokens", "completion_tokens", "cached_tokens",
 *    "finish_reason": null | {"type": "stop", "matched": id | text} | {"type": "length"} | {"type": "abort", …},
 *    "output_token_logprobs"?: [[logprob, id, text]], "output_top_logprobs"?: [[[logprob, id, text]]]}}
 *
 * then `[DONE]`. Text and ids are of the whole answer so far, or, of a server started with
 * `--incremental-streaming-output` (`--stream-output` before), of what is new; the count of tokens tells
 * which. A request it cannot run is answered in the stream as well: `{"error": {"message"}}`.
 *
 * Source: srt/entrypoints/http_server.py, srt/managers/{io_struct,tokenizer_manager}.py of SGLang 0.5.
 */
import type { Finish, Likely, Part, TokenLogprob, Usage } from '../model/part.ts';
import { refusalOf, streamedError } from './upstream-error.ts';
import {
  eventObject,
  type Loose,
  looseCount,
  looseIds,
  looseList,
  looseObject,
  looseText,
} from './upstream-json.ts';

type TextPart = Extract<Part, { kind: 'text' }>;

/** What was told of one answer so far. */
interface Told {
  text: string;
  tokens: number;
  finish: Finish | undefined;
  usage: Usage;
}

/** Reads the `data:` lines of one stream; `done` comes with the last of them. */
export class SglangReader {
  readonly #choices: number;
  readonly #told: Told[];
  #broke = false;

  /** `choices`: so many answers were asked for. */
  constructor(choices: number) {
    this.#choices = choices;
    this.#told = Array.from({ length: choices }, nothingTold);
  }

  read(data: string): Part[] {
    if (data === '[DONE]') return this.#end();
    const chunk = eventObject(data);
    if (chunk.error !== undefined && chunk.error !== null) return [this.#failed(chunk)];
    const index = looseCount(chunk.index) ?? 0;
    const told = this.#told[index];
    if (told === undefined || told.finish !== undefined) return [];
    return this.#choice(chunk, index, told);
  }

  #choice(chunk: Loose, choice: number, told: Told): Part[] {
    const info = looseObject(chunk.meta_info);
    const parts: Part[] = [];
    const part = newText(chunk, info, told);
    if (part !== undefined) parts.push(choice === 0 ? part : { ...part, choice });
    told.usage = usageOf(info, told);
    const reason = looseObject(info.finish_reason);
    if (reason.type === 'abort') return [...parts, this.#aborted(reason)];
    if (reason.type === undefined) return parts;
    told.finish = finishOf(reason);
    if (this.#choices > 1) parts.push({ kind: 'ended', choice, finish: told.finish });
    return parts;
  }

  #failed(chunk: Loose): Part {
    this.#broke = true;
    return { kind: 'error', error: streamedError(chunk) };
  }

  #aborted({ message, status_code }: Loose): Part {
    this.#broke = true;
    const status = looseCount(status_code) ?? 500;
    const body = JSON.stringify({ error: { message } });
    return { kind: 'error', error: refusalOf({ status, body, retryAfter: undefined }) };
  }

  /** A stream in which some answer did not finish was cut: then there is no `done`. */
  #end(): Part[] {
    const finish = this.#told[this.#choices - 1].finish;
    const isWhole = this.#told.every((told) => told.finish !== undefined);
    if (this.#broke || finish === undefined || !isWhole) return [];
    const [{ usage }] = this.#told;
    const outputTokens = this.#told.reduce((sum, told) => sum + told.usage.outputTokens, 0);
    return [{ kind: 'done', finish, usage: { ...usage, outputTokens } }];
  }
}

function nothingTold(): Told {
  const usage = { promptTokens: 0, outputTokens: 0, cachedTokens: undefined };
  return { text: '', tokens: 0, finish: undefined, usage };
}

/** What the chunk says beyond what was told; undefined where that is nothing. */
function newText(chunk: Loose, info: Loose, told: Told): TextPart | undefined {
  const all = looseIds(chunk.output_ids);
  const said = looseText(chunk.text);
  const count = looseCount(info.completion_tokens) ?? told.tokens + (all?.length ?? 1);
  const isWhole = all === undefined ? said.startsWith(told.text) : all.length === count;
  const text = isWhole ? said.slice(told.text.length) : said;
  const ids = isWhole ? all?.slice(told.tokens) : all;
  const tokens = ids?.length ?? Math.max(0, count - told.tokens);
  const logprobs = logprobsOf(info, { count, told: told.tokens });
  told.text += text;
  told.tokens += tokens;
  if (text === '' && tokens === 0) return undefined;
  return {
    kind: 'text',
    text,
    tokens,
    ...(ids !== undefined && { ids }),
    ...(logprobs !== undefined && { logprobs }),
  };
}

function usageOf(info: Loose, told: Told): Usage {
  return {
    promptTokens: looseCount(info.prompt_tokens) ?? told.usage.promptTokens,
    outputTokens: looseCount(info.completion_tokens) ?? told.tokens,
    cachedTokens: looseCount(info.cached_tokens),
  };
}

function finishOf({ type, matched }: Loose): Finish {
  if (type === 'length') return { kind: 'length' };
  return typeof matched === 'string'
    ? { kind: 'stopSequence', sequence: matched }
    : { kind: 'stop' };
}

/** Of the new tokens: these lists too are of the whole answer, or of what is new. */
function logprobsOf(
  info: Loose,
  { count, told }: { count: number; told: number },
): TokenLogprob[] | undefined {
  if (!Array.isArray(info.output_token_logprobs)) return undefined;
  const tokens = looseList(info.output_token_logprobs);
  const tops = looseList(info.output_top_logprobs);
  const from = tokens.length === count ? told : 0;
  return tokens.slice(from).map((token, i) => ({
    ...likely(token),
    top: looseList(tops[from + i]).map(likely),
  }));
}

/** `[logprob, id, text]`. */
function likely(entry: unknown): Likely {
  const [logprob, , text] = looseList(entry);
  const shown = looseText(text);
  return {
    text: shown,
    bytes: [...new TextEncoder().encode(shown)],
    logprob: typeof logprob === 'number' ? logprob : 0,
  };
}
