/**
 * In which of the forms that clients of transformers use a template wants its messages. Templates do
 * not say it; so each is asked once, when it is loaded, with messages whose words are looked for in
 * what it writes. llama.cpp finds out what templates can do in the same way.
 */
import type { Template } from './template/template.ts';
import { TemplateError } from './template/template-error.ts';

export interface RenderForm {
  /**
   * Tool arguments go in as the model wrote them, not as the object they are: written anew, with
   * other spaces, they would not continue what it computed.
   */
  argumentsAsText: boolean;
  /** Content is a list of parts: a string would be lost. */
  contentAsParts: boolean;
  /**
   * A message of nothing but calls has no content at all: an empty one would cost its calls, or be
   * written as an answer of its own.
   */
  emptyContentAsNull: boolean;
}

export function renderFormOf(template: Template): RenderForm {
  /** How long the text is that has the words; none where they are missing. */
  const lengthWith = (messages: unknown[], words: string): number => {
    const text = attempt(template, messages);
    if (text === undefined || !text.includes(words)) return Number.POSITIVE_INFINITY;
    // Parts that are written as they are have been seen, but not understood.
    return /['"]type['"]: ?['"]text/.test(text) ? Number.POSITIVE_INFINITY : text.length;
  };
  const writes = (messages: unknown[], words: string) =>
    lengthWith(messages, words) < Number.POSITIVE_INFINITY;
  const contentAsParts =
    !writes([user(WORDS)], WORDS) && writes([user([{ type: 'text', text: WORDS }])], WORDS);
  const question = user(contentAsParts ? [{ type: 'text', text: WORDS }] : WORDS);
  const calling = (content: string | null, args: unknown) => [question, ...call(content, args)];
  const forms = [ARGUMENTS, JSON.parse(ARGUMENTS)];
  const lengthOf = (content: string | null) =>
    Math.min(...forms.map((it) => lengthWith(calling(content, it), NAME)));
  const emptyContentAsNull = lengthOf(null) < lengthOf('');
  const empty = emptyContentAsNull ? null : '';
  return {
    argumentsAsText: writes(calling(empty, ARGUMENTS), ARGUMENTS),
    contentAsParts,
    emptyContentAsNull,
  };
}

const WORDS = 'Which words are these?';
const NAME = 'ask_for_form';
/** With two blanks, as no template would write it from an object. */
const ARGUMENTS = '{"form":  "text"}';
/** Nine letters and digits: Mistral's templates take no other. */
const CALL_ID = 'call00001';

const TOOL = {
  type: 'function',
  function: {
    name: 'another_tool',
    description: 'Another tool.',
    parameters: {
      type: 'object',
      properties: { form: { type: 'string', description: 'Any.' } },
      required: ['form'],
    },
  },
};

function user(content: unknown): unknown {
  return { role: 'user', content };
}

function call(content: string | null, args: unknown): unknown[] {
  const called = { id: CALL_ID, type: 'function', function: { name: NAME, arguments: args } };
  return [
    { role: 'assistant', content, tool_calls: [called] },
    { role: 'tool', tool_call_id: CALL_ID, name: NAME, content: 'result' },
  ];
}

/** Undefined where the template takes no such messages. */
function attempt(template: Template, messages: unknown[]): string | undefined {
  try {
    return template.render({
      messages,
      tools: [TOOL],
      documents: null,
      add_generation_prompt: true,
      bos_token: '',
      eos_token: '',
    });
  } catch (thrown) {
    if (thrown instanceof TemplateError) return undefined;
    throw thrown;
  }
}
