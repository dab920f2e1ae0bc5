/**
 * Asks a template what it can do. Templates do not say it; so each is given messages whose words are
 * looked for in what it writes, once, when it is loaded. llama.cpp finds out what templates can do in
 * the same way.
 */
import type { Template } from './template/template.ts';
import { TemplateError } from './template/template-error.ts';

/** Nine letters and digits: Mistral's templates take no other. */
export const PROBE_CALL_ID = 'call00001';
export const PROBE_CALL_NAME = 'ask_for_form';

const PARAMETERS = {
  type: 'object',
  properties: { form: { type: 'string', description: 'Any.' } },
  required: ['form'],
};

/** What the template writes, with further variables; undefined where it takes no such messages. */
export function probe(
  template: Template,
  messages: readonly unknown[],
  more: Record<string, unknown> = {},
): string | undefined {
  try {
    return template.render({
      messages,
      tools: [probeTool()],
      documents: null,
      add_generation_prompt: true,
      bos_token: '',
      eos_token: '',
      ...more,
    });
  } catch (thrown) {
    if (thrown instanceof TemplateError) return undefined;
    throw thrown;
  }
}

/** Whether all of `words` come out, in this order. */
export function writesInOrder(text: string | undefined, words: readonly string[]): boolean {
  let from = 0;
  return words.every((word) => {
    const at = text?.indexOf(word, from) ?? -1;
    from = at + word.length;
    return at >= 0;
  });
}

/** `without` one of its fields, both of which clients may leave out. */
export function probeTool(without?: 'description' | 'parameters'): unknown {
  const about: Record<string, unknown> = { name: 'another_tool', description: 'Another tool.' };
  about.parameters = PARAMETERS;
  if (without !== undefined) delete about[without];
  return { type: 'function', function: about };
}

/** A call and its result. */
export function probeCall(content: string | null, args: unknown, id = PROBE_CALL_ID): unknown[] {
  const called = { id, type: 'function', function: { name: PROBE_CALL_NAME, arguments: args } };
  return [
    { role: 'assistant', content, tool_calls: [called] },
    { role: 'tool', tool_call_id: id, name: PROBE_CALL_NAME, content: 'result' },
  ];
}
