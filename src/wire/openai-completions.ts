/**
 * POST /v1/completions: text in, text out. It is also how a gateway talks to a worker, in vLLM's
 * dialect: the prompt may be token ids, and `nvext.extra_fields` may ask for ids and digests back.
 */
import { unreachable } from '../base/assert.ts';
import type { Finish, Part } from '../model/part.ts';
import type { Format, Hints } from '../model/request.ts';
import type { Answer } from './answer.ts';
import { readExtras } from './extras.ts';
import {
  type Json,
  object,
  optionalBoolean,
  optionalCount,
  optionalList,
  optionalObject,
  optionalString,
  stopStrings,
  string,
  tokenIds,
  wrong,
} from './fields.ts';
import { readHints, readSampling } from './hints.ts';
import { chatUsage } from './openai-chat-frames.ts';
import { openaiError } from './openai-error.ts';
import { chatLogprobs, completionLogprobs } from './openai-logprobs.ts';
import { readTool, readToolChoice } from './openai-tools.ts';
import { formatOf, readChoices, readFormat, readFrame, readTop } from './shape.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening, Prompt, Wire } from './wire.ts';

/** The extra field by which log probabilities come in the shape that tells tokens apart. */
export const TOKEN_LOGPROBS = 'token_logprobs';

export const openaiCompletions: Wire = {
  name: 'openai-completions',
  parse,
  framer: (ask, opening) => new CompletionFramer(ask, opening),
  whole,
  error: openaiError,
};

function parse(input: unknown): Ask {
  const body = object(input, 'the body');
  const choices = readChoices(body);
  if ((optionalCount(body.best_of, 'best_of', 1) ?? choices) !== choices) {
    throw wrong('best_of', 'must be as large as n: answers are not ranked');
  }
  if (optionalBoolean(body.echo, 'echo')) throw wrong('echo', 'is not served');
  if ((optionalString(body.suffix, 'suffix') ?? '') !== '') throw wrong('suffix', 'is not served');
  const hints = readTokenHints(body);
  const streamOptions = optionalObject(body.stream_options, 'stream_options');
  const extras = readExtras(body);
  return {
    model: string(body.model, 'model'),
    prompt: readPrompt(body.prompt),
    sampling: readSampling(body),
    outputTokensMax: optionalCount(body.max_tokens, 'max_tokens', hints.saidTokens ? 0 : 1),
    stop: stopStrings(body.stop, 'stop'),
    shape: {
      choices,
      logprobs: readTop(body.logprobs, 'logprobs'),
      format: readTokenFormat(body),
      frame: readFrame(optionalObject(body.nvext, 'nvext')?.answer_frame),
    },
    ...(extras !== undefined && { extras }),
    hints,
    stream: optionalBoolean(body.stream, 'stream') ?? false,
    includeUsage:
      optionalBoolean(streamOptions?.include_usage, 'stream_options.include_usage') ?? false,
    names: [],
  };
}

/** A gateway that renders chats by itself says beside the ids which calls they must lead to. */
function readTokenFormat(body: Json): Format | undefined {
  const offered = optionalList(body.tools, 'tools').flatMap(readTool);
  const { toolChoice, tools } = readToolChoice(body.tool_choice, offered);
  if (toolChoice.kind === 'none') return { kind: 'noCalls' };
  const many = optionalBoolean(body.parallel_tool_calls, 'parallel_tool_calls') ?? true;
  return formatOf({ tools, toolChoice }, readFormat(body), { many });
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
  if (typeof input[0] !== 'number') {
    throw wrong('prompt[0]', 'must be a token id; several prompts at once are not served');
  }
  return { kind: 'tokens', ids: tokenIds(input, 'prompt') };
}

class CompletionFramer implements Framer {
  readonly #head: string;
  readonly #includeUsage: boolean;
  readonly #includeIds: boolean;
  readonly #byToken: boolean;
  readonly #choices: number;
  /** Characters of each choice so far. */
  readonly #offsets: number[];

  constructor({ includeUsage, hints, shape }: Ask, opening: Opening) {
    const { id, createdS, model } = opening;
    const head = { id, object: 'text_completion', created: createdS, model };
    this.#head = `${JSON.stringify(head).slice(0, -1)},`;
    this.#includeUsage = includeUsage;
    this.#includeIds = hints.extraFields.includes('token_ids');
    this.#byToken = hints.extraFields.includes(TOKEN_LOGPROBS);
    this.#choices = shape.choices;
    this.#offsets = new Array<number>(shape.choices).fill(0);
  }

  open(): string {
    return '';
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
        return this.#text(part);
      case 'ended':
        return this.#last(part.choice, part.finish);
      case 'done': {
        const nvext = extras === undefined ? '' : `,"nvext":${JSON.stringify(extras)}`;
        const several = nvext === '' ? '' : sse(`${this.#head}"choices":[]${nvext}}`);
        const last = this.#choices > 1 ? several : this.#last(0, part.finish, nvext);
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

  #text(part: Extract<Part, { kind: 'text' }>): string {
    const { choice = 0, engineData } = part;
    const text = JSON.stringify(part.text);
    const ids = this.#includeIds ? `,"token_ids":${JSON.stringify(part.ids ?? [])}` : '';
    const nvext =
      engineData === undefined
        ? ''
        : `,"nvext":{"engine_data":{"logits_digests":${JSON.stringify(engineData.logitsDigests)}}}`;
    const logprobs = this.#logprobs(part);
    return sse(
      `${this.#head}"choices":[{"index":${choice},"text":${text},"logprobs":${logprobs},"finish_reason":null${ids}}]${nvext}}`,
    );
  }

  #logprobs({ choice = 0, logprobs }: Extract<Part, { kind: 'text' }>): string {
    if (logprobs === undefined) return 'null';
    if (this.#byToken) return JSON.stringify(chatLogprobs(logprobs));
    const offset = this.#offsets[choice];
    for (const { text } of logprobs) this.#offsets[choice] += text.length;
    return JSON.stringify(completionLogprobs(logprobs, offset));
  }

  #last(choice: number, finish: Finish, nvext = ''): string {
    const reason = JSON.stringify(finishReason(finish));
    const stop = JSON.stringify(stopReason(finish));
    return sse(
      `${this.#head}"choices":[{"index":${choice},"text":"","logprobs":null,"finish_reason":${reason},"stop_reason":${stop}}]${nvext}}`,
    );
  }
}

function whole({ shape }: Ask, opening: Opening, answer: Answer): unknown {
  const hasLogprobs = shape.logprobs !== undefined;
  return {
    id: opening.id,
    object: 'text_completion',
    created: opening.createdS,
    model: opening.model,
    choices: [answer, ...answer.others].map(({ blocks, finish, logprobs }, index) => ({
      index,
      text: blocks.map((block) => (block.kind === 'text' ? block.text : '')).join(''),
      logprobs: hasLogprobs ? completionLogprobs(logprobs, 0) : null,
      finish_reason: finishReason(finish),
      stop_reason: stopReason(finish),
    })),
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
