/**
 * What long prompts that keep coming do to those who are being answered, and what they are answered
 * themselves: the gaps between tokens of running streams while a long prompt is computed somewhere.
 */
import { gapsWithin, type Percentiles, percentiles } from './interference.ts';
import type { ServerClient } from './server-client.ts';

export interface LongPromptsInput {
  client: ServerClient;
  /** Token ids that no prompt had before; the same ones in each run. */
  fresh: (count: number) => number[];
  streams: number;
  /** Long prompts, one after the other. */
  prompts: number;
  promptTokens: number;
  answerTokens: number;
}

export interface LongPrompts {
  /** Between two tokens of a stream, over all streams, while a long prompt was not answered yet. */
  itlMs: Percentiles;
  /** Of the long prompts. */
  ttftMs: Percentiles;
  /** What each was answered. */
  texts: string[];
}

const STREAM_CONTEXT = 64;
/** More than a stream writes meanwhile; it is broken off at the end. */
const STREAM_TOKENS = 8000;
/** Each has written so many before the first prompt comes. */
const QUIET_TOKENS = 50;

export async function longPrompts(input: LongPromptsInput): Promise<LongPrompts> {
  const { client, fresh, streams, prompts, promptTokens, answerTokens } = input;
  const leaving = new AbortController();
  const stamps = Array.from({ length: streams }, (): number[] => []);
  const running = stamps.map(async (own) => {
    const onPiece = () => void own.push(performance.now());
    const asked = { ids: fresh(STREAM_CONTEXT), tokens: STREAM_TOKENS };
    return await client.ask({ ...asked, signal: leaving.signal, onPiece });
  });
  const ended = Promise.all(running);
  const tooSoon = ended.then(() => {
    if (!leaving.signal.aborted) throw new Error('the streams ended before the long prompts did');
  });
  const gaps: number[] = [];
  const ttftMs: number[] = [];
  const texts: string[] = [];
  try {
    while (stamps.some(({ length }) => length < QUIET_TOKENS)) {
      await Promise.race([tooSoon, new Promise((resolve) => setTimeout(resolve, 10))]);
    }
    for (let i = 0; i < prompts; i++) {
      const from = performance.now();
      const asked = client.ask({ ids: fresh(promptTokens), tokens: answerTokens });
      const answer = (await Promise.race([asked, tooSoon])) ?? (await asked);
      const firstMs = answer.piecesMs[0] ?? answer.endMs;
      gaps.push(...stamps.flatMap((own) => gapsWithin(own, { from, to: from + firstMs })));
      ttftMs.push(firstMs);
      texts.push(answer.text);
    }
  } finally {
    leaving.abort();
    await tooSoon.catch(() => undefined);
  }
  return { itlMs: percentiles(gaps), ttftMs: percentiles(ttftMs), texts };
}
