/** A conversation as chat templates read it: the shape transformers and vLLM hand to them. */
import { GatewayError } from '../model/error.ts';
import {
  type Chat,
  type Content,
  KEEPS_REASONING,
  type Message,
  resultContent,
  type Tool,
  textOf,
} from '../model/request.ts';
import { EFFORTS, type RenderForm } from './render-form.ts';
import { readJson } from './template/json.ts';
import type { Template } from './template/template.ts';
import { TemplateError, TemplateRefusal } from './template/template-error.ts';
import { isDict } from './template/values.ts';
import { fittingTurns } from './turn-form.ts';

/** Texts of special tokens that templates write themselves; absent where the model has none. */
export interface TokenNames {
  bos_token?: string;
  eos_token?: string;
}

export interface RenderSettings extends TokenNames {
  form: RenderForm;
}

/** Throws a GatewayError where the conversation is not one for this model. */
export function renderChat(template: Template, chat: Chat, settings: RenderSettings): string {
  const input = templateInput(chat, settings);
  try {
    return template.render(input);
  } catch (thrown) {
    if (!(thrown instanceof TemplateError)) throw thrown;
    const sentence =
      thrown instanceof TemplateRefusal
        ? `The model's chat template does not take this conversation: ${thrown.message}`
        : `The model's chat template cannot write this conversation: ${thrown.message}.`;
    throw new GatewayError('invalid_request', sentence, { param: 'messages', cause: thrown });
  }
}

export function templateInput(
  chat: Chat,
  { form, ...names }: RenderSettings,
): Record<string, unknown> {
  const tools = chat.tools.filter(({ deferred }) => !deferred);
  const effort = chat.effort === undefined ? undefined : effortFor(chat.effort, form);
  return {
    // Templates of different makers have different names for the same.
    ...(chat.thinking !== undefined && { enable_thinking: chat.thinking, thinking: chat.thinking }),
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(chat.keepsReasoning && KEEPS_REASONING),
    ...chat.templateArguments,
    messages: fittingTurns(textTurns(chat), form.turns).map((message) =>
      messageInput(message, form),
    ),
    tools:
      tools.length > 0 || form.needsToolList ? tools.map((tool) => toolInput(tool, form)) : null,
    documents: null,
    add_generation_prompt: chat.generationPrompt ?? true,
    ...names,
  };
}

/** The nearest word that the template takes, rather more than less; undefined where it may take none. */
function effortFor(asked: string, { effortsRefused }: RenderForm): string | undefined {
  if (effortsRefused.size > 0 && !EFFORTS.includes(asked)) return undefined;
  if (!effortsRefused.has(asked)) return asked;
  const distance = (effort: string) => {
    const steps = EFFORTS.indexOf(effort) - EFFORTS.indexOf(asked);
    return steps >= 0 ? steps : 0.5 - steps;
  };
  const taken = EFFORTS.filter((effort) => !effortsRefused.has(effort));
  return taken.sort((a, b) => distance(a) - distance(b))[0];
}

/**
 * Of images and other files the model is told that they were there. They are not refused: what is refused
 * once is in all further requests of a session, and would end it for good.
 */
function textTurns({ messages }: Chat): Message[] {
  return messages.map((message) =>
    message.content.every(({ kind }) => kind === 'text')
      ? message
      : { ...message, content: message.content.map(readable) },
  );
}

function readable(part: Content): Content {
  if (part.kind === 'text') return part;
  const what = part.kind === 'file' && part.name !== undefined ? `file ${part.name}` : part.kind;
  return { kind: 'text', text: `[${what}: this model reads text only and cannot see it]` };
}

function messageInput(message: Message, form: RenderForm): Record<string, unknown> {
  if (message.role === 'tool') {
    const content = contentInput(resultContent(message), form);
    return { role: 'tool', content, tool_call_id: message.toolCallId };
  }
  const content = contentInput(message.content, form);
  if (message.role !== 'assistant') return { role: message.role, content };
  const input: Record<string, unknown> = { role: 'assistant', content };
  if (message.reasoning !== undefined) input[form.reasoningField] = message.reasoning;
  if (message.toolCalls.length > 0) {
    const words = textOf(message.content);
    if (form.joinsWords && message.reasoning !== undefined && words !== '') {
      input[form.reasoningField] = `${message.reasoning}\n\n${words}`;
      input.content = contentInput([], form);
    }
    if (form.emptyContentAsNull && words === '') input.content = null;
    input.tool_calls = message.toolCalls.map(({ id, name, argumentsJson }) => ({
      id,
      type: 'function',
      function: {
        name,
        arguments: form.argumentsAsText ? argumentsJson || '{}' : argumentsInput(argumentsJson),
      },
    }));
  }
  return input;
}

function contentInput(content: readonly Content[], form: RenderForm): unknown {
  const text = textOf(content);
  return form.contentAsParts ? [{ type: 'text', text }] : text;
}

/**
 * An object where the model wrote one, or nothing at all; else its text as it stands, which
 * templates write verbatim.
 */
function argumentsInput(json: string): unknown {
  if (json.trim() === '') return {};
  try {
    const value = readJson(json);
    return isDict(value) ? value : json;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return json;
    throw thrown;
  }
}

function toolInput(
  { name, description, parameters }: Tool,
  { needsParameters, needsDescription }: RenderForm,
): Record<string, unknown> {
  const about: Record<string, unknown> = { name };
  if (description !== undefined) about.description = description;
  else if (needsDescription) about.description = '';
  if (parameters !== undefined) about.parameters = parameters;
  else if (needsParameters) about.parameters = { type: 'object', properties: {} };
  return { type: 'function', function: about };
}
