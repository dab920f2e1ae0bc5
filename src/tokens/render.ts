/** A conversation as chat templates read it: the shape transformers and vLLM hand to them. */
import { GatewayError } from '../model/error.ts';
import { type Chat, type Content, type Message, type Tool, textOf } from '../model/request.ts';
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
  /** Tool arguments go in as the model wrote them, not as the object they are. */
  argumentsAsText: boolean;
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
  { argumentsAsText, ...names }: RenderSettings,
): Record<string, unknown> {
  const input: Record<string, unknown> = {
    messages: chat.messages.map((message) => messageInput(message, argumentsAsText)),
    tools: chat.tools.length > 0 ? chat.tools.map(toolInput) : null,
    documents: null,
    add_generation_prompt: true,
    ...names,
  };
  if (chat.thinking !== undefined) input.enable_thinking = chat.thinking;
  return input;
}

function messageInput(message: Message, argumentsAsText: boolean): Record<string, unknown> {
  const content = contentInput(message.content);
  if (message.role === 'tool') {
    return { role: 'tool', content, tool_call_id: message.toolCallId };
  }
  if (message.role !== 'assistant') return { role: message.role, content };
  const input: Record<string, unknown> = { role: 'assistant', content };
  if (message.reasoning !== undefined) input.reasoning_content = message.reasoning;
  if (message.toolCalls.length > 0) {
    input.tool_calls = message.toolCalls.map(({ id, name, argumentsJson }) => ({
      id,
      type: 'function',
      function: {
        name,
        arguments: argumentsAsText ? argumentsJson || '{}' : argumentsInput(argumentsJson),
      },
    }));
  }
  return input;
}

function contentInput(content: readonly Content[]): string {
  if (content.some(({ kind }) => kind === 'image')) {
    throw new GatewayError(
      'invalid_request',
      'This model reads text only: send the request without its images.',
      { param: 'messages' },
    );
  }
  return textOf(content);
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
