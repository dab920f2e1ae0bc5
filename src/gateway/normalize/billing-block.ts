/**
 * Claude Code opens its system prompt with a block that is no instruction to the model:
 *
 *   x-anthropic-billing-header: cc_version=2.1.330.f1d; cc_entrypoint=sdk-cli;
 *
 * Its digits follow the first user message, so they differ from session to session, between sub-agents,
 * and after a compaction. Where a template writes the system prompt first, nothing behind it is shared.
 * Measured on 2.1.330 and 2.1.197; the shape is matched whole, so that a prompt that only speaks of it
 * stays as it is.
 */
import type { Chat } from '../../model/request.ts';

const BLOCK = /^x-anthropic-billing-header:(?:[ \t]*[\w.-]{1,64}=[^;\n]{0,256};)+[ \t]*(?:\n|$)/;

export interface Unbilled {
  chat: Chat;
  /** The block that was dropped. */
  block: string;
}

/** Undefined where the conversation does not begin with such a block. The given chat stays as it is. */
export function withoutBillingBlock(chat: Chat): Unbilled | undefined {
  const [system, ...messages] = chat.messages;
  if (system?.role !== 'system') return undefined;
  const [first, ...content] = system.content;
  if (first?.kind !== 'text') return undefined;
  const block = BLOCK.exec(first.text)?.[0];
  if (block === undefined) return undefined;
  // A proxy may have joined the blocks to one text: what comes behind the line stays.
  const text = first.text.slice(block.length);
  if (text !== '') content.unshift({ kind: 'text', text });
  if (content.length > 0) messages.unshift({ role: 'system', content });
  return { chat: { ...chat, messages }, block };
}
