/**
 * In which of the forms that clients of transformers use a template wants its messages: each is asked
 * once, when it is loaded.
 */
import type { Template } from './template/template.ts';
import { PROBE_CALL_NAME, probe, probeCall, probeTool } from './template-probe.ts';
import { type TurnForm, turnFormOf } from './turn-form.ts';

export interface RenderForm {
  /**
   * Tool arguments go in as the model wrote them, not as the object they are: written anew, with
   * other spaces, they would not continue what it computed. Only where both are the same JSON: some
   * models write arguments in a language of their own.
   */
  argumentsAsText: boolean;
  /** Content is a list of parts: a string would be lost. */
  contentAsParts: boolean;
  /**
   * A message of nothing but calls has no content at all: an empty one would cost its calls, or be
   * written as an answer of its own.
   */
  emptyContentAsNull: boolean;
  /** A tool without parameters is given an empty schema: the template looks into it. */
  needsParameters: boolean;
  /** A tool without description is given an empty one. */
  needsDescription: boolean;
  /** Where the template looks for the reasoning of a message that calls tools. */
  reasoningField: (typeof REASONING_FIELDS)[number];
  /** A message that calls tools may not have both words and reasoning: both are told as reasoning. */
  joinsWords: boolean;
  /** No tools are an empty list: the template goes through it without asking. */
  needsToolList: boolean;
  /** Words of `reasoning_effort` it refuses. */
  effortsRefused: ReadonlySet<string>;
  turns: TurnForm;
}

/** In the order in which they are tried; the first also where a template keeps none. */
const REASONING_FIELDS = ['reasoning_content', 'thinking', 'reasoning'] as const;

/** From least to most, over all APIs. */
export const EFFORTS: readonly string[] = ['minimal', 'low', 'medium', 'high', 'xhigh', 'max'];

export function renderFormOf(template: Template): RenderForm {
  /** How long the text is that has the words; none where they are missing. */
  const lengthWith = (messages: unknown[], words: string): number => {
    const text = probe(template, messages);
    if (text === undefined || !text.includes(words)) return Number.POSITIVE_INFINITY;
    // Parts that are written as they are have been seen, but not understood.
    return /['"]type['"]: ?['"]text/.test(text) ? Number.POSITIVE_INFINITY : text.length;
  };
  const writes = (messages: unknown[], words: string) =>
    lengthWith(messages, words) < Number.POSITIVE_INFINITY;
  const contentAsParts =
    !writes([user(WORDS)], WORDS) && writes([user([{ type: 'text', text: WORDS }])], WORDS);
  const contentOf = (text: string) => (contentAsParts ? [{ type: 'text', text }] : text);
  const question = user(contentOf(WORDS));
  const calling = (content: string | null, args: unknown) => [
    question,
    ...probeCall(content, args),
  ];
  const forms = [ARGUMENTS, JSON.parse(ARGUMENTS)];
  const lengthOf = (content: string | null) =>
    Math.min(...forms.map((it) => lengthWith(calling(content, it), PROBE_CALL_NAME)));
  const emptyContentAsNull = lengthOf(null) < lengthOf('');
  const empty = emptyContentAsNull ? null : '';
  const squeezed = (args: unknown) => probe(template, calling(empty, args))?.replace(/\s/g, '');
  const asObject = squeezed(JSON.parse(ARGUMENTS));
  const argumentsAsText =
    writes(calling(empty, ARGUMENTS), ARGUMENTS) &&
    (asObject === undefined || asObject === squeezed(ARGUMENTS));
  const takes = (more: object) => probe(template, [question], { ...more }) !== undefined;
  const args = argumentsAsText ? ARGUMENTS : JSON.parse(ARGUMENTS);
  const reasons = (field: string, content: string | null = empty) => {
    const [call, result] = probeCall(content, args);
    return writes([question, { ...(call as object), [field]: THOUGHT }, result], THOUGHT);
  };
  const reasoningField = REASONING_FIELDS.find((field) => reasons(field));
  return {
    argumentsAsText,
    contentAsParts,
    emptyContentAsNull,
    needsParameters: takes({}) && !takes({ tools: [probeTool('parameters')] }),
    needsDescription: takes({}) && !takes({ tools: [probeTool('description')] }),
    reasoningField: reasoningField ?? REASONING_FIELDS[0],
    joinsWords: reasoningField !== undefined && !reasons(reasoningField, WORDS),
    needsToolList: takes({}) && !takes({ tools: null }) && takes({ tools: [] }),
    effortsRefused: new Set(
      EFFORTS.filter((effort) => takes({}) && !takes({ reasoning_effort: effort })),
    ),
    turns: turnFormOf(template, { contentOf, calling: (id) => probeCall(empty, args, id) }),
  };
}

const WORDS = 'Which words are these?';
const THOUGHT = 'Those of a form.';
/** With two blanks, as no template would write it from an object. */
const ARGUMENTS = '{"form":  "text"}';

function user(content: unknown): unknown {
  return { role: 'user', content };
}
