/** Log probabilities in OpenAI's two shapes. */
import type { Likely, TokenLogprob } from '../model/part.ts';

/** Of chat completions: a token's text may be no whole character, its bytes say what it is. */
export function chatLogprobs(logprobs: readonly TokenLogprob[]): unknown {
  const content = logprobs.map(({ top, ...token }) => ({
    ...chatToken(token),
    top_logprobs: top.map(chatToken),
  }));
  return { content, refusal: null };
}

function chatToken({ text, bytes, logprob }: Likely) {
  return { token: text, logprob, bytes };
}

/** Reads either shape back; undefined where there are none. */
export function readLogprobs(
  input: ChatLogprobs | CompletionLogprobs | null | undefined,
): TokenLogprob[] | undefined {
  if (input && 'tokens' in input) return readLists(input);
  return (input as ChatLogprobs | undefined)?.content?.map(({ top_logprobs: top, ...token }) => ({
    ...readToken(token),
    top: (top ?? []).map(readToken),
  }));
}

/** Bytes are those of the text: of half a character they are not told. */
function readLists({ tokens, ...of }: CompletionLogprobs): TokenLogprob[] | undefined {
  return tokens?.map((token, i) => ({
    ...readToken({ token, logprob: of.token_logprobs?.[i] ?? undefined }),
    top: Object.entries(of.top_logprobs?.[i] ?? {}).map(([text, logprob]) =>
      readToken({ token: text, logprob }),
    ),
  }));
}

export interface ChatLogprobs {
  content?: (ChatToken & { top_logprobs?: ChatToken[] | null })[] | null;
}

export interface CompletionLogprobs {
  tokens?: string[];
  token_logprobs?: (number | null)[] | null;
  top_logprobs?: (Record<string, number> | null)[] | null;
}

interface ChatToken {
  token?: string;
  logprob?: number;
  bytes?: number[] | null;
}

function readToken({ token = '', logprob = 0, bytes }: ChatToken): Likely {
  return { text: token, logprob, bytes: bytes ?? [...new TextEncoder().encode(token)] };
}

/**
 * Of completions: lists side by side. `offset`: characters of the answer before these tokens.
 * Of candidates that look alike the more likely one is told.
 */
export function completionLogprobs(logprobs: readonly TokenLogprob[], offset: number): unknown {
  let at = offset;
  const offsets = logprobs.map(({ text }) => {
    at += text.length;
    return at - text.length;
  });
  return {
    tokens: logprobs.map(({ text }) => text),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }) => {
      const entries = new Map<string, number>();
      for (const { text, logprob } of top) if (!entries.has(text)) entries.set(text, logprob);
      return Object.fromEntries(entries);
    }),
    text_offset: offsets,
  };
}
