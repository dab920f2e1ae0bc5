/**
 * What gpt-oss models write: messages, each with a header that says whom it is for.
 *
 *   <|channel|>analysis<|message|> reasoning <|end|>
 *   <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
 *   <|start|>assistant to=functions.NAME<|channel|>commentary json<|message|>{…}<|call|>
 *   <|start|>assistant<|channel|>final<|message|> text <|return|>
 *
 * The prompt ends behind the first `<|start|>assistant`. Headers are never part of an answer.
 * Format: OpenAI's openai-harmony, docs/format.md.
 */
import type { Tool } from '../../model/request.ts';
import { type CallFormat, numberedId, offers } from './call-format.ts';
import { readObject } from './json-call.ts';
import type { Reader, Step } from './reader.ts';

const START = '<|start|>';
const CHANNEL = '<|channel|>';
const MESSAGE = '<|message|>';
const CONSTRAIN = '<|constrain|>';
const ENDS = ['<|end|>', '<|call|>', '<|return|>'];
/** How a header can begin. */
const HEADS = [START, CHANNEL, MESSAGE, ' to=', 'to=', 'assistant'];
/** UTF-16 units; a longer one is no header. */
const HEADER_MAX = 512;
const CHANNELS = /<\|channel\|>\s*(\w+)/g;
const RECIPIENT = /(?:^|\s|>)to=(functions\.)?([^\s<]+)/;

export const HARMONY: CallFormat = {
  names: ['openai', 'openai_gptoss', 'gpt_oss', 'harmony'],
  markers: [START, CHANNEL, MESSAGE, CONSTRAIN, ...ENDS],
  recognises: (template) => template.includes(CHANNEL) && template.includes(MESSAGE),
  read,
  endsReasoning: [],
  readsReasoning: true,
  callId: numberedId,
};

interface Header {
  kind: 'text' | 'reasoning';
  /** The tool that the message calls. */
  tool: string | undefined;
}

const PLAIN: Header = { kind: 'text', tool: undefined };

function* read(reader: Reader, tools: readonly Tool[]): Step<void> {
  const sought = [...ENDS, START];
  let header = yield* readHeader(reader, tools);
  for (;;) {
    const { kind, tool } = header ?? PLAIN;
    if (tool !== undefined) yield* readObject(reader, { name: tool }, ENDS);
    const isText = kind === 'text' || tool !== undefined;
    const marker = yield* isText ? reader.textUpTo(sought, 0) : reader.reasoningUpTo(sought, 0);
    if (marker === undefined) return;
    if (marker !== START) {
      reader.commit();
      header = yield* readHeader(reader, tools);
      continue;
    }
    const next = yield* readHeaderRest(reader, tools);
    if (next === undefined) reader.giveUp(kind);
    else header = next;
  }
}

/** Over a header, if there is one. Text without one is for the user. */
function* readHeader(reader: Reader, tools: readonly Tool[]): Step<Header | undefined> {
  if ((yield* reader.peek(...HEADS)) === undefined) return undefined;
  return yield* readHeaderRest(reader, tools);
}

function* readHeaderRest(reader: Reader, tools: readonly Tool[]): Step<Header | undefined> {
  const header = yield* reader.before([MESSAGE], HEADER_MAX);
  if (header === undefined) return undefined;
  reader.commit();
  const channel = [...header.text.matchAll(CHANNELS)].at(-1)?.[1];
  const recipient = RECIPIENT.exec(header.text);
  const isTool = recipient !== null && (recipient[1] !== undefined || offers(tools, recipient[2]));
  return {
    kind: channel === 'analysis' ? 'reasoning' : 'text',
    tool: isTool ? recipient[2] : undefined,
  };
}
