import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TokenTexts } from './decoder.ts';
import { toyVocabulary } from './toy-vocabulary.test.ts';

const VOCABULARY = toyVocabulary();
const NONE: ReadonlySet<string> = new Set();
/** Ids 0–255 of the toy vocabulary are the bytes. */
const byteTokens = (text: string): number[] => [...Buffer.from(text)];

function decode(ids: readonly number[]): string {
  const decoder = new TokenTexts(VOCABULARY, NONE).decoder();
  return ids.map((id) => decoder.push(id)).join('') + decoder.flush();
}

test('characters cut into bytes come back whole', () => {
  const text = fc.string({ unit: 'binary' }).map((it) => Buffer.from(it).toString());
  fc.assert(fc.property(text, (it) => assert.equal(decode(byteTokens(it)), it)));
  assert.equal(decode(byteTokens('\ufeffa👩‍👩‍👧')), '\ufeffa👩‍👩‍👧');
});

test('what never becomes a character decodes as WHATWG and Python do', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
      assert.equal(decode([...bytes]), whole);
    }),
  );
});

test('a character is held back until it is whole, and no longer', () => {
  const decoder = new TokenTexts(VOCABULARY, NONE).decoder();
  const pushed = byteTokens('é!').map((id) => decoder.push(id));
  assert.deepEqual(pushed, ['', 'é', '!']);
  assert.equal(decoder.push(byteTokens('é')[0]), '');
  assert.equal(decoder.push(VOCABULARY.tokens.indexOf('Ġthe')), '\ufffd the');
  assert.equal(decoder.flush(), '');
});

test('control tokens are nothing, user-defined ones their text', () => {
  const ids = ['<|im_start|>', '<think>', 'Ġthe', '<|im_end|>'].map((it) => {
    return VOCABULARY.tokens.indexOf(it);
  });
  assert.equal(decode(ids), '<think> the');
  assert.equal(decode([1_000_000]), '');
});

test('control tokens that parsers look for are their text, between halves of a character', () => {
  const vocabulary = toyVocabulary();
  vocabulary.tokens = [...vocabulary.tokens, '<｜tool▁sep｜>'];
  vocabulary.kinds = [...vocabulary.kinds, 'control'];
  const decoder = new TokenTexts(vocabulary, new Set(['<｜tool▁sep｜>'])).decoder();
  const separator = vocabulary.tokens.length - 1;
  const ids = [byteTokens('é')[0], separator, VOCABULARY.tokens.indexOf('<|im_start|>')];
  assert.equal(ids.map((id) => decoder.push(id)).join(''), '\ufffd<｜tool▁sep｜>');
});

test('byte tokens and texts outside of the alphabet decode', () => {
  const vocabulary = {
    ...VOCABULARY,
    tokens: ['<0x0A>', '日'],
    kinds: ['byte', 'normal'] as const,
  };
  const decoder = new TokenTexts(vocabulary, NONE).decoder();
  assert.equal(decoder.push(0) + decoder.push(1), '\n日');
});
