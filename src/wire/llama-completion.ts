/**
 * The stream of llama.cpp's server at its own route, `POST /completion`:
 *
 *   {"index", "content", "tokens", "stop": false, "tokens_predicted", "tokens_evaluated", "completion_probabilities"?}
 *   {"index", "content": "", "stop": true, "stop_type": "eos" | "limit" | "word", "stopping_word", "id_slot",
 *    "tokens_predicted", "tokens_evaluated", "timings": {"cache_n", "prompt_n", …}}
 *
 * `tokens_evaluated` is the whole prompt, `timings.cache_n` what of it lay in the slot.
 * Source: tools/server/server-task.cpp of llama.cpp, and its README.
 */
import type { Finish, Likely, Part, TokenLogprob, Usage } from '../model/part.ts';
import { streamedError } from './upstream-error.ts';
import {
  eventObject,
  type Loose,
  looseCount,
  looseIds,
  looseList,
  looseObject,
  looseText,
} from './upstream-json.ts';

/** Reads the `data:` lines of one stream; `done` comes with the end of the last answer. */
export class LlamaCompletionReader {
  readonly #choices: number;
  readonly #ended = new Set<number>();
  /** In which slot the prompt lies now; undefined until the server says. */
  slot: number | undefined;
  #usage: Usage = { promptTokens: 0, outputTokens: 0, cachedTokens: undefined };

  /** `choices`: so many answers were asked for. */
  constructor(choices: number) {
    this.#choices = choices;
  }

  read(data: string): Part[] {
    if (data === '[DONE]') return [];
    const chunk = eventObject(data);
    if (chunk.error !== undefined && chunk.error !== null)
      return [{ kind: 'error', error: streamedError(chunk) }];
    const choice = looseCount(chunk.index) ?? 0;
    this.slot = looseCount(chunk.id_slot) ?? this.slot;
    const part = textOf(chunk, choice);
    const parts = part === undefined ? [] : [part];
    return chunk.stop === true ? [...parts, ...this.#end(chunk, choice)] : parts;
  }

  #end(chunk: Loose, choice: number): Part[] {
    if (this.#ended.has(choice)) return [];
    this.#ended.add(choice);
    const finish = finishOf(chunk);
    const { cache_n: cached, prompt_n: computed } = looseObject(chunk.timings);
    const promptTokens = looseCount(chunk.tokens_evaluated) ?? 0;
    const isKnown = looseCount(computed) !== undefined;
    const rest = isKnown ? Math.max(0, promptTokens - (looseCount(computed) ?? 0)) : undefined;
    this.#usage = {
      promptTokens,
      outputTokens: this.#usage.outputTokens + (looseCount(chunk.tokens_predicted) ?? 0),
      // Further answers find in cache what the first one computed.
      cachedTokens: choice === 0 ? (looseCount(cached) ?? rest) : this.#usage.cachedTokens,
    };
    const parts: Part[] = this.#choices > 1 ? [{ kind: 'ended', choice, finish }] : [];
    if (this.#ended.size < this.#choices) return parts;
    return [...parts, { kind: 'done', finish, usage: this.#usage }];
  }
}

function textOf(chunk: Loose, choice: number): Part | undefined {
  const text = looseText(chunk.content);
  const ids = looseIds(chunk.tokens);
  const isEnd = chunk.stop === true;
  const tokens = ids?.length ?? (isEnd ? 0 : 1);
  if (text === '' && tokens === 0) return undefined;
  const probabilities = chunk.completion_probabilities;
  return {
    kind: 'text',
    text,
    tokens,
    ...(ids !== undefined && { ids }),
    ...(choice > 0 && { choice }),
    ...(Array.isArray(probabilities) && { logprobs: probabilities.map(logprobOf) }),
  };
}

function logprobOf(entry: unknown): TokenLogprob {
  const token = looseObject(entry);
  return {
    ...likely(token),
    top: looseList(token.top_logprobs).map((one) => likely(looseObject(one))),
  };
}

function likely({ token, bytes, logprob }: Loose): Likely {
  const text = looseText(token);
  return {
    text,
    bytes: looseIds(bytes) ?? [...new TextEncoder().encode(text)],
    logprob: typeof logprob === 'number' ? logprob : 0,
  };
}

function finishOf({ stop_type: type, stopping_word: word }: Loose): Finish {
  if (type === 'limit') return { kind: 'length' };
  if (type === 'word' && looseText(word) !== '') {
    return { kind: 'stopSequence', sequence: looseText(word) };
  }
  return { kind: 'stop' };
}
