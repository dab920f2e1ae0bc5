/** A conversation as chat templates read it: the shape transformers and vLLM hand to them. */
import { GatewayError } from '../model/error.ts';
import { type Chat, type Content, type Message, type Tool, textOf } from '../model/request.ts';
import type { RenderForm } from './render-form.ts';
import { readJson } from './template/json.ts';
import type { Template } from './template/template.ts';
import { TemplateError, TemplateRefusal } from './template/template-error.ts';
import { isDict } from './template/values.ts';

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
  const input: Record<string, unknown> = {
    messages: chat.messages.map((message) => messageInput(message, form)),
    tools: chat.tools.length > 0 ? chat.tools.map(toolInput) : null,
    documents: null,
    add_generation_prompt: chat.generationPrompt ?? true,
    ...names,
  };
  if (chat.thinking !== undefined) input.enable_thinking = chat.thinking;
  return input;
}

function messageInput(message: Message, form: RenderForm): Record<string, unknown> {
  const content = contentInput(message.content, form);
  if (message.role === 'tool') {
    return { role: 'tool', content, tool_call_id: message.toolCallId };
  }
  if (message.role !== 'assistant') return { role: message.role, content };
  const input: Record<string, unknown> = { role: 'assistant', content };
  if (message.reasoning !== undefined) input.reasoning_content = message.reasoning;
  if (message.toolCalls.length > 0) {
    if (form.emptyContentAsNull && textOf(message.content) === '') input.content = null;
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
  if (content.some(({ kind }) => kind === 'image')) {
    throw new GatewayError(
      'invalid_request',
      'This model reads text only: send the request without its images.',
      { param: 'messages' },
    );
  }
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

function toolInput({ name, description, parameters }: Tool): Record<string, unknown> {
  const about: Record<string, unknown> = { name };
  if (description !== undefined) about.description = description;
  if (parameters !== undefined) about.parameters = parameters;
  return { type: 'function', function: about };
}
