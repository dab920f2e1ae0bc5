/**
 * What tokenizing costs: a cold prompt, the next turn of a long thread, a chat template, block hashes,
 * each beside a public library in the same run where one is installed.
 */
import type { Chat, Message, Tool } from '../model/request.ts';
import type { Tokens } from '../ports.ts';
import { IncrementalEncoder } from '../tokens/prompt-encoder.ts';
import { type BenchReport, measured, type Runs, ratio } from './figure.ts';

/** Public libraries that do the same, where they are installed. */
export interface TokensRivals {
  /** The `tokenizers` package on the same vocabulary. */
  native: ((text: string) => Promise<unknown>) | undefined;
  /** `@huggingface/jinja` on the same template. */
  jinja: ((chat: Chat) => string) | undefined;
  /** `xxh3.xxh64` of `@node-rs/xxhash`. */
  xxhash: ((bytes: Uint8Array, seed: bigint) => bigint) | undefined;
}

export interface TokensBench {
  tokens: Tokens;
  vocabulary: string;
  /** Enough real text for a prompt of 120,000 tokens. */
  text: string;
  rivals: TokensRivals;
  onProgress: (text: string) => void;
}

const COLD_TOKENS = 120_000;
const THREAD_TOKENS = 70_000;
const NEXT_TURN_CHARACTERS = 7_000;
const MESSAGES = 201;
const HASHED_TOKENS = 131_072;
const SETTINGS = { bytesMax: 256 * 1024 * 1024, hereMax: Number.POSITIVE_INFINITY };

const TOOLS: Tool[] = Array.from({ length: 16 }, (_, i) => ({
  name: `tool_${i}`,
  description: 'Does what its name says and tells what came of it, line by line.',
  parameters: {
    type: 'object',
    properties: Object.fromEntries(
      ['path', 'pattern', 'from', 'to'].map((name) => [
        name,
        { type: 'string', description: name },
      ]),
    ),
    required: ['path'],
  },
}));

export async function benchTokens(bench: TokensBench): Promise<BenchReport> {
  const { tokens, rivals, text, onProgress } = bench;
  onProgress('cold prompt');
  const cold = await coldPrompt(bench);
  onProgress('next turn');
  const turn = await nextTurn(tokens, text);
  onProgress('template');
  const chat = { ...chatOf(text, THREAD_TOKENS), tools: TOOLS };
  const template = await measured(() => flat(tokens.render(chat)));
  const { jinja } = rivals;
  const jinjaRuns = jinja && (await measured(() => flat(jinja(chat))));
  onProgress('hashing');
  const hash = await hashing(tokens, rivals.xxhash);
  return {
    bench: 'tokens',
    settings: {
      vocabulary: bench.vocabulary,
      coldTokens: cold.tokens,
      threadTokens: turn.threadTokens,
      nextTurnCharacters: NEXT_TURN_CHARACTERS,
      templateMessages: chat.messages.length,
      templateEqual: jinja === undefined ? 'not compared' : jinja(chat) === tokens.render(chat),
      hashedTokens: HASHED_TOKENS,
      blockTokens: tokens.hasher.blockTokens,
    },
    figures: {
      coldRatioToNative: ratio(cold.ours, cold.native),
      followUpRatioToFull: ratio(turn.next, turn.full),
      templateRatioToJinja: ratio(template, jinjaRuns),
      hashRatioToXxhash: ratio(hash.ours, hash.xxhash),
    },
    beside: {
      unit: 'ms CPU, best of 5 runs, all listed',
      cold: cold.ours,
      coldFirstMs: cold.firstMs,
      coldNative: cold.native ?? 'tokenizers is not installed',
      followUp: turn.next,
      full: turn.full,
      template,
      templateJinja: jinjaRuns ?? '@huggingface/jinja is not installed',
      hash: hash.ours,
      hashXxhash: hash.xxhash ?? '@node-rs/xxhash is not installed',
    },
  };
}

/** Ids and hashes of a prompt that nobody saw before; the native library makes only the ids. */
async function coldPrompt({ tokens, text, rivals }: TokensBench) {
  const prompt = tokens.render(chatOf(text, COLD_TOKENS));
  const root = tokens.hasher.root('');
  // The very first of this process: nothing is compiled yet, and no piece was seen before.
  const before = process.cpuUsage();
  await encoderOf(tokens).encode(prompt, { thread: 'a', root });
  const { user, system } = process.cpuUsage(before);
  const ours = await measured(() => encoderOf(tokens).encode(prompt, { thread: 'a', root }));
  const { native } = rivals;
  const theirs = native && (await measured(() => native(prompt)));
  const firstMs = (user + system) / 1000;
  return { tokens: tokens.encode(prompt).length, firstMs, ours, native: theirs };
}

async function nextTurn(
  tokens: Tokens,
  text: string,
): Promise<{
  threadTokens: number;
  next: Runs;
  full: Runs;
}> {
  const chat = chatOf(text, THREAD_TOKENS);
  const before = tokens.render(chat);
  const said: Message = {
    role: 'user',
    content: [{ kind: 'text', text: text.slice(-NEXT_TURN_CHARACTERS) }],
  };
  const after = tokens.render({ ...chat, messages: [...chat.messages, said] });
  const root = tokens.hasher.root('');
  const encoder = encoderOf(tokens);
  // The turn before comes again each time, so that the next one is new.
  const next = await measured(
    () => encoder.encode(after, { thread: 'a', root }),
    () => encoder.encode(before, { thread: 'a', root }),
  );
  const full = await measured(() => encoderOf(tokens).encode(after, { thread: 'a', root }));
  return { threadTokens: tokens.encode(before).length, next, full };
}

async function hashing(tokens: Tokens, xxhash: TokensRivals['xxhash']) {
  const { hasher } = tokens;
  const ids = Uint32Array.from({ length: HASHED_TOKENS }, (_, i) => (i * 7919) % 150_000);
  const root = hasher.root('');
  const ours = await measured(() => hasher.blocks(root, ids));
  if (xxhash === undefined) return { ours, xxhash: undefined };
  const bytes = new Uint8Array(ids.buffer);
  const width = 4 * hasher.blockTokens;
  const pair = new BigUint64Array(2);
  const pairBytes = new Uint8Array(pair.buffer);
  const loop = () => {
    let parent = root;
    for (let at = 0; at < bytes.length; at += width) {
      pair[0] = parent;
      pair[1] = xxhash(bytes.subarray(at, at + width), 1337n);
      parent = xxhash(pairBytes, 1337n);
    }
    return parent;
  };
  return { ours, xxhash: await measured(loop) };
}

function encoderOf(tokens: Tokens): IncrementalEncoder {
  return new IncrementalEncoder({ tokens, elsewhere: undefined, settings: SETTINGS });
}

/** An agent's conversation about the text: tool calls and their results. */
function chatOf(text: string, tokensWanted: number): Chat {
  const width = Math.floor((tokensWanted * 3.6) / (MESSAGES / 2));
  const messages: Message[] = [
    { role: 'system', content: [{ kind: 'text', text: text.slice(0, width) }] },
  ];
  for (let i = 0; messages.length < MESSAGES; i++) {
    const at = (i * width) % Math.max(1, text.length - width);
    const id = `call_${i}`;
    messages.push(
      {
        role: 'assistant',
        content: [{ kind: 'text', text: `Step ${i}.` }],
        reasoning: undefined,
        toolCalls: [{ id, name: 'read', argumentsJson: `{"path": "file-${i}.ts"}` }],
      },
      {
        role: 'tool',
        content: [{ kind: 'text', text: text.slice(at, at + width) }],
        toolCallId: id,
        isError: false,
      },
    );
  }
  return { model: 'bench', messages, tools: [], toolChoice: { kind: 'auto' }, thinking: true };
}

/** Reads a character, as whoever encodes a string does: built-up strings are joined only then. */
function flat(text: string): number {
  return text.charCodeAt(text.length >> 1);
}
