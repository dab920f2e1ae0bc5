/**
 * Does our tokenizer agree with the engine's? Asked at every start, on slices of text that tokenizers
 * are known to disagree about, cut at random places.
 */
import { Prng } from '../base/prng.ts';
import type { Tokens } from '../ports.ts';

export interface TokenCheck {
  checked: number;
  differing: number;
  /** Which slice differed first; empty where none did. */
  reason: string;
}

const TEXT = [
  'The quick brown fox jumps over the lazy dog; it isn’t THEIR dog, they’ll say, and we’d agree.',
  'const answer: Map<string, number[]> = new Map([["a", [1, 22, 333]], ["β", []]]);\r\n\tif (x !== y) {\n\n    return x?.y ?? z;\n}\n',
  '{"name": "get_user_details", "arguments": {"user_id": "mia_li_3668", "total": 1234567.89, "ok": true}}',
  'Größe, café, naïve, Ελληνικά, русский текст, 漢字かな交じり文、한국어 텍스트, عربي ١٢٣٤, हिन्दी, ไทย',
  '👩‍👩‍👧‍👦 👍🏽 🇫🇷 ½ ② Ⅷ x² e\u0301 \u00a0\u2003\u3000 \ufeff \u0085 ﬁ',
  '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n<tool_call>\n{}\n</tool_call><|im_end|>',
  '   leading and trailing   \n\n\n  \t tabs\t\tand    runs of     spaces      ',
].join('\n');

export function sampleSlices(count: number): string[] {
  const rng = new Prng(1);
  const points = Array.from(TEXT);
  return Array.from({ length: count }, () => {
    const start = rng.below(points.length);
    return points.slice(start, start + 1 + rng.below(120)).join('');
  });
}

export async function checkTokens(
  tokens: Tokens,
  engineTokenize: (texts: string[]) => Promise<ArrayLike<number>[]>,
  count: number,
): Promise<TokenCheck> {
  const slices = sampleSlices(count);
  const theirs = await engineTokenize(slices);
  let differing = 0;
  let reason = '';
  slices.forEach((slice, i) => {
    const ours = tokens.encode(slice);
    if (ours.length === theirs[i].length && ours.every((id, j) => id === theirs[i][j])) return;
    differing++;
    reason ||= `our tokenizer and the engine's disagree, first on ${JSON.stringify(slice.slice(0, 60))}`;
  });
  return { checked: count, differing, reason };
}
