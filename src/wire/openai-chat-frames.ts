/**
 * Answers of chat completions. Streams are complete: role, deltas with ids and indexes, finish reason,
 * usage where asked, [DONE]. Measured: leaving out any of these breaks some client.
 */
import { unreachable } from '../base/assert.ts';
import type { Finish, Part, TokenLogprob, Usage } from '../model/part.ts';
import type { Answer, ChoiceAnswer } from './answer.ts';
import { openaiError } from './openai-error.ts';
import { chatLogprobs } from './openai-logprobs.ts';
import { CustomInput, customInput } from './responses-custom-input.ts';
import { sse } from './sse.ts';
import type { Ask, Framer, Opening } from './wire.ts';

const NO_DELTA = '{}';

export class ChatFramer implements Framer {
  readonly #head: string;
  readonly #includeUsage: boolean;
  readonly #choices: number;
  /** Those of the choices that called tools. */
  readonly #callers = new Set<number>();
  readonly #customTools: ReadonlySet<string> | undefined;
  /** What each choice says to a custom tool just now. */
  readonly #inputs = new Map<number, { index: number; input: CustomInput }>();

  constructor({ includeUsage, shape, customTools }: Ask, opening: Opening) {
    const { id, createdS, model } = opening;
    const head = { id, object: 'chat.completion.chunk', created: createdS, model };
    this.#head = `${JSON.stringify(head).slice(0, -1)},`;
    this.#includeUsage = includeUsage;
    this.#choices = shape.choices;
    this.#customTools = customTools;
  }

  open(): string {
    let text = '';
    for (let i = 0; i < this.#choices; i++) {
      text += this.#delta('{"role":"assistant","content":""}', { choice: i });
    }
    return text;
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    switch (part.kind) {
      case 'text':
      case 'reasoning': {
        if (part.text === '') return part.logprobs ? this.#delta(NO_DELTA, part) : '';
        const text = JSON.stringify(part.text);
        const said = part.kind === 'text' ? `{"content":${text}}` : reasoningFields(text);
        return this.#delta(said, part);
      }
      case 'toolCall':
        this.#callers.add(part.choice ?? 0);
        return this.#endInput(part.choice) + this.#call(part);
      case 'toolArguments':
        return this.#arguments(part);
      case 'ended':
        return this.#endInput(part.choice) + this.#last(part.choice, part.finish);
      case 'done':
        return this.#endInput(0) + this.#done(part, extras);
      case 'error':
        return sse(JSON.stringify(openaiError(part.error))) + sse('[DONE]');
      default:
        return unreachable(part);
    }
  }

  keepAlive(): string {
    return sse(`${this.#head}"choices":[]}`);
  }

  #call(part: Extract<Part, { kind: 'toolCall' }>): string {
    const { index, id, name, choice = 0 } = part;
    if (!this.#customTools?.has(name)) {
      const call = { index, id, type: 'function', function: { name, arguments: '' } };
      return this.#delta(JSON.stringify({ tool_calls: [call] }), part);
    }
    this.#inputs.set(choice, { index, input: new CustomInput() });
    const call = { index, id, type: 'custom', custom: { name, input: '' } };
    return this.#delta(JSON.stringify({ tool_calls: [call] }), part);
  }

  #arguments(part: Extract<Part, { kind: 'toolArguments' }>): string {
    const { index, text } = part;
    const custom = this.#inputs.get(part.choice ?? 0);
    if (custom !== undefined) return this.#input(index, custom.input.push(text), part);
    const call = { index, function: { arguments: text } };
    return this.#delta(JSON.stringify({ tool_calls: [call] }), part);
  }

  #endInput(choice = 0): string {
    const custom = this.#inputs.get(choice);
    if (custom === undefined) return '';
    this.#inputs.delete(choice);
    return this.#input(custom.index, custom.input.end(), { choice });
  }

  #input(index: number, input: string, of: OfChoice): string {
    if (input === '') return of.logprobs ? this.#delta(NO_DELTA, of) : '';
    return this.#delta(JSON.stringify({ tool_calls: [{ index, custom: { input } }] }), of);
  }

  /** Of several choices each had its last words already. */
  #done(part: { finish: Finish; usage: Usage }, extras?: Record<string, unknown>): string {
    const nvext = extras === undefined ? '' : `,"nvext":${JSON.stringify(extras)}`;
    const several = nvext === '' ? '' : sse(`${this.#head}"choices":[]${nvext}}`);
    const last = this.#choices > 1 ? several : this.#last(0, part.finish, nvext);
    const usage = this.#includeUsage
      ? sse(`${this.#head}"choices":[],"usage":${JSON.stringify(chatUsage(part.usage))}}`)
      : '';
    return last + usage + sse('[DONE]');
  }

  #last(choice: number, finish: Finish, nvext = ''): string {
    const reason = JSON.stringify(finishReason(finish, this.#callers.has(choice)));
    return sse(
      `${this.#head}"choices":[{"index":${choice},"delta":{},"logprobs":null,"finish_reason":${reason}}]${nvext}}`,
    );
  }

  #delta(delta: string, of: OfChoice): string {
    const logprobs = of.logprobs === undefined ? 'null' : JSON.stringify(chatLogprobs(of.logprobs));
    return sse(
      `${this.#head}"choices":[{"index":${of.choice ?? 0},"delta":${delta},"logprobs":${logprobs},"finish_reason":null}]}`,
    );
  }
}

interface OfChoice {
  choice?: number;
  logprobs?: readonly TokenLogprob[];
}

/** Under both names: clients read the one or the other, and send that one back. */
function reasoningFields(text: string): string {
  return `{"reasoning_content":${text},"reasoning":${text}}`;
}

export function chatWhole({ shape, customTools }: Ask, opening: Opening, answer: Answer): unknown {
  const hasLogprobs = shape.logprobs !== undefined;
  return {
    id: opening.id,
    object: 'chat.completion',
    created: opening.createdS,
    model: opening.model,
    choices: [answer, ...answer.others].map((choice, index) => ({
      index,
      ...wholeChoice(choice, customTools),
      logprobs: hasLogprobs ? chatLogprobs(choice.logprobs) : null,
    })),
    usage: chatUsage(answer.usage),
    ...(answer.extras !== undefined && { nvext: answer.extras }),
  };
}

function wholeChoice(
  { blocks, finish }: ChoiceAnswer,
  customTools: ReadonlySet<string> | undefined,
): { message: unknown; finish_reason: string } {
  let text: string | null = null;
  let reasoning: string | undefined;
  const toolCalls: unknown[] = [];
  for (const block of blocks) {
    if (block.kind === 'text') text = (text ?? '') + block.text;
    else if (block.kind === 'reasoning') reasoning = (reasoning ?? '') + block.text;
    else {
      const { id, name, argumentsJson } = block;
      toolCalls.push(
        customTools?.has(name)
          ? { id, type: 'custom', custom: { name, input: customInput(argumentsJson) } }
          : { id, type: 'function', function: { name, arguments: argumentsJson } },
      );
    }
  }
  if (text === null && toolCalls.length === 0) text = '';
  return {
    message: {
      role: 'assistant',
      content: text,
      refusal: null,
      ...(reasoning !== undefined && { reasoning_content: reasoning, reasoning }),
      ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    },
    finish_reason: finishReason(finish, toolCalls.length > 0),
  };
}

function finishReason(finish: Finish, calledTools: boolean): string {
  switch (finish.kind) {
    case 'length':
      return 'length';
    case 'toolCalls':
      return 'tool_calls';
    case 'stop':
    case 'stopSequence':
      return calledTools ? 'tool_calls' : 'stop';
    default:
      return unreachable(finish);
  }
}

/** Where the engine does not say what was cached, the field is absent. */
export function chatUsage(usage: Usage): unknown {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.promptTokens + usage.outputTokens,
    ...(usage.cachedTokens !== undefined && {
      prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    }),
    ...(usage.reasoningTokens !== undefined && {
      completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    }),
  };
}
