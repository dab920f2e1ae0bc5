/**
 * POST /v1/completions: text in, text out. It is also how a gateway talks to a worker, in vLLM's
 * dialect: the prompt may be token ids, and `nvext.extra_fields` may ask for ids and digests back.
 */
import { unreachable } from '../base/assert.ts';
import type { Finish, Part } from '../model/part.ts';
import type { Hints } from '../model/request.ts';
import type { Answer } from './answer.ts';
import {
  type Json,
  object,
  optionalBoolean,
  optionalCount,
  optionalObject,
  optionalString,
  stopStrings,
  string,
  wrong,
} from './fields.ts';
import { readHints, readSampling } from './hints.ts';
import { chatUsage } from './openai-chat.ts';
import { openaiError } from './openai-error.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening, Prompt, Wire } from './wire.ts';

export const openaiCompletions: Wire = {
  name: 'openai-completions',
  parse,
  framer: (ask, opening) => new CompletionFramer(ask, opening),
  whole,
  error: openaiError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  if ((optionalCount(body.n, 'n', 1) ?? 1) > 1) throw wrong('n', 'must be 1');
  if ((optionalCount(body.best_of, 'best_of', 1) ?? 1) > 1) throw wrong('best_of', 'must be 1');
  if (optionalBoolean(body.echo, 'echo')) throw wrong('echo', 'is not served');
  if (body.logprobs !== undefined && body.logprobs !== null) {
    throw wrong('logprobs', 'are not served');
  }
  if ((optionalString(body.suffix, 'suffix') ?? '') !== '') throw wrong('suffix', 'is not served');
  const streamOptions = optionalObject(body.stream_options, 'stream_options');
  return {
    model: string(body.model, 'model'),
    prompt: readPrompt(body.prompt),
    sampling: readSampling(body),
    outputTokensMax: optionalCount(body.max_tokens, 'max_tokens', 1),
    stop: stopStrings(body.stop, 'stop'),
    hints: readTokenHints(body),
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage:
      optionalBoolean(streamOptions?.include_usage, 'stream_options.include_usage') ?? false,
    names: [],
  };
}

/** vLLM's `return_token_ids` is one more extra field. */
function readTokenHints(body: Json): Hints {
  const hints = readHints(body);
  if (!optionalBoolean(body.return_token_ids, 'return_token_ids')) return hints;
  return { ...hints, extraFields: [...hints.extraFields, 'token_ids'] };
}

/** A list of one prompt means that prompt. */
function readPrompt(body: unknown): Prompt {
  const isListOfOne = Array.isArray(body) && body.length === 1 && typeof body[0] !== 'number';
  const input: unknown = isListOfOne ? body[0] : body;
  if (typeof input === 'string') {
    if (input === '') throw wrong('prompt', 'must not be empty');
    return { kind: 'text', text: input };
  }
  if (!Array.isArray(input)) throw wrong('prompt', 'must be a string or a list of token ids');
  if (input.length === 0) throw wrong('prompt', 'must not be empty');
  const ids = new Uint32Array(input.length);
  for (let i = 0; i < input.length; i++) {
    const id = input[i];
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 0xffff_ffff) {
      throw wrong(`prompt[${i}]`, 'must be a token id; several prompts at once are not served');
    }
    ids[i] = id;
  }
  return { kind: 'tokens', ids };
}

class CompletionFramer implements Framer {
  readonly #head: string;
  readonly #includeUsage: boolean;
  readonly #includeIds: boolean;

  constructor(ask: Ask, opening: Opening) {
    const { id, createdS, model } = opening;
    const head = { id, object: 'text_completion', created: createdS, model };
    this.#head = `${JSON.stringify(head).slice(0, -1)},`;
    this.#includeUsage = ask.includeUsage;
    this.#includeIds = ask.hints.extraFields.includes('token_ids');
  }

  open(): string {
    return '';
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text': {
        const text = JSON.stringify(part.text);
        const ids = this.#includeIds ? `,"token_ids":${JSON.stringify(part.ids ?? [])}` : '';
        const nvext =
          part.engineData === undefined
            ? ''
            : `,"nvext":{"engine_data":{"logits_digests":${JSON.stringify(part.engineData.logitsDigests)}}}`;
        return sse(
          `${this.#head}"choices":[{"index":0,"text":${text},"logprobs":null,"finish_reason":null${ids}}]${nvext}}`,
        );
      }
      case 'done': {
        const nvext = extras === undefined ? '' : `,"nvext":${JSON.stringify(extras)}`;
        const reason = JSON.stringify(finishReason(part.finish));
        const stop = JSON.stringify(stopReason(part.finish));
        const last = sse(
          `${this.#head}"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":${reason},"stop_reason":${stop}}]${nvext}}`,
        );
        const usage = this.#includeUsage
          ? sse(`${this.#head}"choices":[],"usage":${JSON.stringify(chatUsage(part.usage))}}`)
          : '';
        return last + usage + sse('[DONE]');
      }
      case 'error':
        return sse(JSON.stringify(openaiError(part.error))) + sse('[DONE]');
      case 'reasoning':
      case 'toolCall':
      case 'toolArguments':
        return ''; // A completion is plain text: nothing was parsed out of it.
      default:
        return unreachable(part);
    }
  }

  keepAlive(): string {
    return sse(`${this.#head}"choices":[]}`);
  }
}

function whole(_ask: Ask, opening: Opening, answer: Answer): unknown {
  const text = answer.blocks.map((block) => (block.kind === 'text' ? block.text : '')).join('');
  return {
    id: opening.id,
    object: 'text_completion',
    created: opening.createdS,
    model: opening.model,
    choices: [
      {
        index: 0,
        text,
        logprobs: null,
        finish_reason: finishReason(answer.finish),
        stop_reason: stopReason(answer.finish),
      },
    ],
    usage: chatUsage(answer.usage),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}

function finishReason(finish: Finish): string {
  return finish.kind === 'length' ? 'length' : 'stop';
}

/** vLLM's field: which stop string it was. */
function stopReason(finish: Finish): string | null {
  return finish.kind === 'stopSequence' ? finish.sequence : null;
}
