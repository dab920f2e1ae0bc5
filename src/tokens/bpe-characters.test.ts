/** BPE over characters with a fallback to bytes: the whole text is merged, with no pre-tokenizer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Prng } from '../base/prng.ts';
import { SENTENCE_PIECE, type TextRules, type Vocabulary } from '../model/vocabulary.ts';
import { type Bpe, buildBpe } from './bpe.ts';
import { TokenTexts } from './decoder.ts';

const BYTES = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
);
const CHARACTERS = ['a', 'b', 'c', '▁', '\n', '漢', '😀'];
const RULES: TextRules = {
  added: [],
  normalizers: [{ kind: 'replace', literal: ' ', by: '▁' }],
  splits: [],
  ignoreMerges: false,
  alphabet: 'characters',
};

const texts = fc
  .array(fc.constantFrom('a', 'b', 'c', 'ab', ' ', '  ', '\n', '漢', '😀', '字', 'é', '▁'), {
    maxLength: 40,
  })
  .map((parts) => parts.join(''));

test('texts are merged as if they were one piece', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { tokens, merges } = learnt(seed);
    const bpe = built(vocabulary({ tokens, merges }));
    const ranks = new Map(merges.map(([left, right], rank) => [`${left}\0${right}`, rank]));
    const best = (left: string, right: string) => ranks.get(`${left}\0${right}`);
    fc.assert(
      fc.property(texts, (text) => {
        assert.deepEqual(named(bpe.encode(text), tokens), slow(text, tokens, best));
      }),
      { numRuns: 200 },
    );
  }
});

test('with scores, whatever makes a token merges, the best score first', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { tokens } = learnt(seed);
    const rng = new Prng(seed);
    const scores = Float32Array.from(tokens, () => -rng.below(12)); // some are equal
    const bpe = built({ ...vocabulary({ tokens, merges: scores }), preTokenizer: SENTENCE_PIECE });
    const ids = new Map(tokens.map((token, id) => [token, id]));
    const best = (left: string, right: string) => {
      const id = ids.get(left + right);
      return id === undefined ? undefined : -scores[id];
    };
    fc.assert(
      fc.property(texts, (text) => {
        assert.deepEqual(named(bpe.encode(text), tokens), slow(text, tokens, best));
      }),
      { numRuns: 200 },
    );
  }
});

test('ids become the text again', () => {
  const { tokens, merges } = learnt(7);
  const given = vocabulary({ tokens, merges });
  const bpe = built(given);
  fc.assert(
    fc.property(texts, (text) => {
      const decoder = new TokenTexts(given, new Set()).decoder();
      const decoded = [...bpe.encode(text)].map((id) => decoder.push(id)).join('');
      assert.equal(decoded + decoder.flush(), text.replaceAll('▁', ' '));
    }),
  );
});

test('a vocabulary that could lose text is refused', () => {
  const { tokens, merges } = learnt(1);
  const result = buildBpe(
    vocabulary({ tokens: tokens.map((it) => it.replace('<0x41>', 'x')), merges }),
  );
  assert.ok(result.kind === 'unsupported');
  assert.match(result.reason, /no token for some bytes/);
});

/** Merges of random neighbours, so that tokens overlap in all ways. */
function learnt(seed: number): { tokens: string[]; merges: [string, string][] } {
  const rng = new Prng(seed);
  const symbols = [...CHARACTERS];
  const merges: [string, string][] = [];
  while (merges.length < 25) {
    const pair: [string, string] = [rng.pick(symbols), rng.pick(symbols)];
    const text = pair.join('');
    if (text.length > 8 || merges.some(([l, r]) => l === pair[0] && r === pair[1])) continue;
    merges.push(pair);
    if (!symbols.includes(text)) symbols.push(text);
  }
  return { tokens: [...BYTES, ...symbols], merges };
}

function vocabulary(given: Pick<Vocabulary, 'tokens' | 'merges'>): Vocabulary {
  return {
    algorithm: 'bpe',
    preTokenizer: RULES,
    ...given,
    kinds: given.tokens.map((token) => (token.startsWith('<0x') ? 'byte' : 'normal')),
    endTokens: [],
    beginToken: undefined,
    endToken: undefined,
    addsBegin: false,
    template: undefined,
  };
}

function built(given: Vocabulary): Bpe {
  const result = buildBpe(given);
  assert.ok(result.kind === 'built');
  return result.bpe;
}

function named(ids: Uint32Array, tokens: readonly string[]): string[] {
  return [...ids].map((id) => tokens[id]);
}

/** The best pair of the whole text, the leftmost of equal ones, until none is left. */
function slow(
  text: string,
  tokens: readonly string[],
  rankOf: (left: string, right: string) => number | undefined,
): string[] {
  const known = new Set(tokens);
  let word = Array.from(text.replaceAll(' ', '▁'));
  for (;;) {
    let found: { at: number; rank: number } | undefined;
    for (let at = 0; at + 1 < word.length; at++) {
      const rank = rankOf(word[at], word[at + 1]);
      if (rank !== undefined && (found === undefined || rank < found.rank)) found = { at, rank };
    }
    if (found === undefined) break;
    const { at } = found;
    word = [...word.slice(0, at), word[at] + word[at + 1], ...word.slice(at + 2)];
  }
  return word.flatMap((it) => (known.has(it) ? [it] : [...Buffer.from(it)].map((b) => BYTES[b])));
}
