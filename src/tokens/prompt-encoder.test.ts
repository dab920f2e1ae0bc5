import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Tokens } from '../ports.ts';
import { IncrementalEncoder } from './prompt-encoder.ts';
import { toyTokens } from './toy-tokens.test.ts';

const SETTINGS = { bytesMax: 1_000_000, hereMax: 400 };

test('whatever a client does to its history, ids and hashes are those of the whole', async () => {
  const tokens = toyTokens();
  const specials = [...tokens.specials.values()];
  const piece = fc.oneof(
    fc.constantFrom(...specials, ...specials.map((special) => special.slice(0, -1))),
    fc.constantFrom(' the', ' other', '\n', '  ', 'king', 'é', '漢字', '😀', '1234', '<', '|'),
    fc.string({ maxLength: 5 }),
  );
  const text = fc.array(piece, { minLength: 20, maxLength: 150 }).map((pieces) => pieces.join(''));
  const turn = fc.record({
    thread: fc.constantFrom('a', 'b', ''),
    keep: fc.constantFrom(1, 1, 1, 0.95, 0.5, 0),
    more: text,
    salt: fc.constantFrom('', 'other'),
  });
  let remembered = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: 12 }), async (turns) => {
      const encoder = encoderOf(tokens);
      let history = '';
      for (const { thread, keep, more, salt } of turns) {
        history = history.slice(0, Math.floor(history.length * keep)) + more;
        const root = tokens.hasher.root(salt);
        const { ids, hashes } = await encoder.encode(history, { thread, root });
        assert.deepEqual(ids, tokens.encode(history));
        assert.deepEqual(hashes, tokens.hasher.blocks(root, ids));
      }
      assert.equal(encoder.totals.seamsRefused, 0);
      remembered += encoder.totals.remembered;
    }),
    { numRuns: 300 },
  );
  assert.ok(remembered > 10_000, `${remembered} ids were remembered`);
});

test('a turn that appends encodes what follows the last special token, whoever encodes it', async () => {
  const tokens = toyTokens();
  const [special] = tokens.specials.values();
  const asked: string[] = [];
  const encoder = new IncrementalEncoder({
    tokens,
    elsewhere: async (text) => {
      asked.push(text);
      return tokens.encode(text);
    },
    settings: SETTINGS,
  });
  const root = tokens.hasher.root('');
  const turns = Array.from({ length: 20 }, (_, i) => `${special}user${' the king'.repeat(i)}`);
  await encoder.encode(turns.join(''), { thread: 'a', root });
  assert.equal(asked.length, 1, 'a long prompt is encoded elsewhere');
  const before = encoder.totals.encoded;
  const longer = `${turns.join('')}${special} the other${special} king`;
  const { ids } = await encoder.encode(longer, { thread: 'a', root });
  assert.deepEqual(ids, tokens.encode(longer));
  assert.equal(asked.length, 1, 'a short tail is encoded here');
  assert.ok(encoder.totals.encoded - before < 120, `${encoder.totals.encoded - before} ids`);
});

test('an encoder elsewhere that fails fails this prompt and no other', async () => {
  const tokens = toyTokens();
  let fails = true;
  const encoder = new IncrementalEncoder({
    tokens,
    elsewhere: async (text) => {
      if (fails) throw new Error('the thread is lost');
      return tokens.encode(text);
    },
    settings: SETTINGS,
  });
  const prompt = { thread: 'a', root: tokens.hasher.root('') };
  const text = ' the king'.repeat(100);
  await assert.rejects(encoder.encode(text, prompt), /lost/);
  fails = false;
  assert.deepEqual((await encoder.encode(text, prompt)).ids, tokens.encode(text));
});

function encoderOf(tokens: Tokens): IncrementalEncoder {
  return new IncrementalEncoder({ tokens, elsewhere: undefined, settings: SETTINGS });
}
