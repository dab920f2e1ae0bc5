import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BYTE_CHARACTERS } from '../model/byte-alphabet.ts';
import type { Vocabulary } from '../model/vocabulary.ts';
import { type Bpe, buildBpe } from './bpe.ts';
import { preTokenizerOf } from './pre-tokenizer.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

const VOCABULARY = toyVocabulary();
const MERGES = VOCABULARY.merges as readonly string[];

test('ids are those of a slow twin', () => {
  const bpe = built(VOCABULARY);
  const words = [
    'the',
    ' in',
    'rings',
    '日本語',
    '😀',
    "'ll",
    '  ',
    '\n',
    '1',
    '<|im_end|>',
    '<th',
  ];
  const text = fc.oneof(
    fc.array(fc.constantFrom(...words)).map((parts) => parts.join('')),
    fc.string({ unit: 'binary', maxLength: 40 }),
  );
  fc.assert(
    fc.property(text, (it) => {
      assert.deepEqual([...bpe.encode(it)], slowEncode(it, VOCABULARY));
      assert.equal(bpe.count(it), bpe.encode(it).length);
    }),
    { numRuns: 1000 },
  );
});

test('a long piece is merged like a short one', () => {
  const bpe = built(VOCABULARY);
  for (const text of ['the'.repeat(500), 'mother日本rings'.repeat(40), ' '.repeat(3000)]) {
    assert.deepEqual([...bpe.encode(text)], slowEncode(text, VOCABULARY));
  }
});

test('an encoder answers the same again and after a large text', () => {
  const bpe = built(VOCABULARY);
  const first = bpe.encode('the other king');
  bpe.encode('the end '.repeat(200_000));
  assert.deepEqual(bpe.encode('the other king'), first);
});

test('lone surrogates are U+FFFD', () => {
  const bpe = built(VOCABULARY);
  for (const lone of ['\ud800', '\udc00', 'a\ud83d', '\udc00\ud800', '\ud83dthe']) {
    const clean = lone.replace(/[\ud800-\udfff]/g, '\ufffd');
    assert.deepEqual(bpe.encode(lone), bpe.encode(clean));
  }
});

test('special tokens are cut out, longest first', () => {
  const { tokens } = VOCABULARY;
  const ids = [...built(VOCABULARY).encode('the<|im_start|><think></think<|im_end|>\n')];
  const names = ids.map((id) => tokens[id]);
  assert.ok(names.includes('<|im_start|>') && names.includes('<think>'));
  assert.ok(!names.includes('</think>'));
  assert.deepEqual(names.slice(-2), ['<|im_end|>', 'Ċ']);
});

test('a symbol that is no token is spelled as llama.cpp spells it', () => {
  // "q" is in no token of its own, and "qz" is only a step of merging.
  const tokens = VOCABULARY.tokens.map((text) => (text === 'q' ? 'unreachable' : text));
  const vocabulary = { ...VOCABULARY, tokens, merges: [...MERGES, 'q z'] };
  const z = tokens.indexOf('z');
  assert.deepEqual([...built(vocabulary).encode('qz')], [z]);
});

test('what is not supported is refused in words', () => {
  const cases: [Partial<Vocabulary>, RegExp][] = [
    [{ algorithm: 'other' }, /not a byte-level BPE/],
    [{ preTokenizer: 'viking' }, /pre-tokenizer "viking" is none of those known/],
    [special('<|im_end|><'), /"<\|im_end\|><" and "<.*" can overlap/],
    [
      { tokens: [...VOCABULARY.tokens, '<PRE>'], kinds: [...VOCABULARY.kinds, 'normal'] },
      /"<PRE>"/,
    ],
  ];
  for (const [changes, reason] of cases) {
    const result = buildBpe({ ...VOCABULARY, ...changes });
    assert.equal(result.kind, 'unsupported');
    if (result.kind === 'unsupported') assert.match(result.reason, reason);
  }
});

function special(text: string): Partial<Vocabulary> {
  return { tokens: [...VOCABULARY.tokens, text], kinds: [...VOCABULARY.kinds, 'control'] };
}

function built(vocabulary: Vocabulary): Bpe {
  const result = buildBpe(vocabulary);
  assert.equal(result.kind, 'built');
  return (result as { bpe: Bpe }).bpe;
}

/** The algorithm as it is told: special tokens by length, pieces, the best merge until none. */
function slowEncode(text: string, { tokens, kinds, preTokenizer }: Vocabulary): number[] {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const specials = tokens.filter((_, id) => kinds[id] !== 'normal');
  let fragments: (string | number)[] = [Buffer.from(text).toString()];
  for (const special of specials.sort((a, b) => b.length - a.length)) {
    fragments = fragments.flatMap((fragment) =>
      typeof fragment === 'number'
        ? [fragment]
        : fragment
            .split(special)
            .flatMap((part, i) => (i === 0 ? [part] : [ids.get(special) as number, part])),
    );
  }
  const ranks = new Map(MERGES.map((merge, rank) => [merge, rank]));
  return fragments.flatMap((fragment) => {
    if (typeof fragment === 'number') return [fragment];
    return pieces(fragment, preTokenizer).flatMap((piece) => {
      let word = [...Buffer.from(piece)].map((byte) => BYTE_CHARACTERS[byte]);
      for (;;) {
        const best = word
          .slice(1)
          .reduce<{ at: number; rank: number } | undefined>((found, _, at) => {
            const rank = ranks.get(`${word[at]} ${word[at + 1]}`);
            return rank !== undefined && (found === undefined || rank < found.rank)
              ? { at, rank }
              : found;
          }, undefined);
        if (best === undefined) return word.map((symbol) => ids.get(symbol) as number);
        word = [
          ...word.slice(0, best.at),
          word[best.at] + word[best.at + 1],
          ...word.slice(best.at + 2),
        ];
      }
    });
  });
}

function pieces(text: string, preTokenizer: Vocabulary['preTokenizer']): string[] {
  const [pieceEnd] = preTokenizerOf(preTokenizer)?.steps ?? [];
  assert.ok(pieceEnd);
  const codePoints = Uint32Array.from(Array.from(text, (it) => it.codePointAt(0) as number));
  const result: string[] = [];
  for (let at = 0; at < codePoints.length; ) {
    const end = pieceEnd(codePoints, at, codePoints.length);
    result.push(String.fromCodePoint(...codePoints.subarray(at, end)));
    at = end;
  }
  return result;
}
