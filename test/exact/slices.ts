/** Texts that tokenizers are known to disagree about, made from a seed. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Prng } from '../../src/base/prng.ts';

const TRACES = ['tau-bench-airline-10tasks', 'lmcache-mini-swe-agent-6'];
const SESSION_CHARACTERS = 2_000_000;

const ATOMS = [
  // Words, contractions, code.
  ...[
    'the',
    ' The',
    'ing',
    'HTTPServer',
    ' camelCase',
    "I'll",
    "DON'T",
    "we've",
    "x'ſ",
    '’s',
    "''s",
  ],
  ...[
    'const x = {',
    '}\n',
    '();',
    ' => ',
    '// ',
    '\t\tif (a != b) {\r\n',
    '/*',
    '*/',
    '#!/bin',
    '</div>',
  ],
  ...[
    '<a href="/x/y">',
    '\\n',
    '\\u00e9',
    'a_b',
    '__init__',
    '0x1F',
    '3.14e-10',
    '1234567',
    ' 42',
    '½',
  ],
  // White space.
  ...[
    ' ',
    '  ',
    '   ',
    '\n',
    '\n\n\n',
    '\r\n',
    '\r\n\r\n',
    '\r',
    '\t',
    ' \n ',
    '\u00a0',
    '\u0085',
    '\v',
  ],
  ...['\u2003', '\u3000', '\u2028', '\u200b', '\ufeff', '\u1680', '                '],
  // Scripts.
  ...[
    '漢字',
    'かな',
    'カタカナ',
    '中文',
    '。',
    '，',
    '「',
    '한국어',
    '각',
    'ไทย',
    'हिन्दी',
    'क्ष',
    'العربية',
    '١٢٣',
  ],
  ...[
    '۴۵۶',
    '२३',
    'русский',
    'Ελληνικά',
    'ΑΣ',
    'İstanbul',
    'größe',
    'ß',
    'ǅ',
    'ʰ',
    'ﬁ',
    'Ⅷ',
    '²',
    '𝟙𝟚',
    '𝒜',
  ],
  ...[
    'e\u0301',
    'é',
    'A\u030a',
    '\u0301',
    '\u0301\u0327',
    '\u1100\u1161\u11a8',
    '\u0f71\u0f72',
    '\u212b',
  ],
  // Emoji.
  ...[
    '😀',
    '👍🏽',
    '👩‍👩‍👧‍👦',
    '🇫🇷',
    '❤️',
    '#️⃣',
    '🏴\u{e0067}\u{e0062}\u{e007f}',
    '\u200d',
    '\ufe0f',
  ],
  // What is no text, or is not assigned.
  ...[
    '\u0000',
    '\u001b[0m',
    '\u007f',
    '\ufffd',
    '\ue000',
    '\u0378',
    '\u{10ffff}',
    '\u{1fffe}',
    '�',
  ],
  '▁',
  '▁▁',
  'Ġ',
  'Ċ',
];

/** Special tokens as nearly everybody has them, whole or not; the vocabulary's own come beside. */
const LOOK_ALIKES = [
  ...[
    '<|im_start|>',
    '<|im_end|',
    '|im_end|>',
    '<|eot_id|>',
    '<|start_header_id|>',
    '<think>',
    '</think',
  ],
  ...[
    '<｜User｜>',
    '<｜Assistant',
    '<｜end▁of▁sentence｜>',
    '<start_of_turn>',
    '<end_of_turn>user',
    '<bos>',
  ],
  ...[
    '<|channel|>',
    '<|message|>',
    '<|',
    '|>',
    '<',
    '<<|im_end|>>',
    '<s>',
    '</s>',
    '[INST]',
    '<unk>',
    '<0x0A>',
  ],
];

/** How slices are made, and for how many in twenty. */
const KINDS = [
  ...['session', 'session', 'session', 'session', 'session', 'session', 'session'],
  ...['atoms', 'atoms', 'atoms', 'atoms', 'atoms', 'atoms', 'atoms'],
  ...['specials', 'specials', 'specials', 'any', 'any', 'run'],
] as const;

export class Slices {
  readonly #rng: Prng;
  readonly #session = Array.from(sessions());
  readonly #specials: readonly string[];

  /** `specials`: the added tokens of the vocabulary. */
  constructor(seed: number, specials: readonly string[]) {
    this.#rng = new Prng(seed);
    this.#specials = [...LOOK_ALIKES, ...specials];
  }

  next(): string {
    const rng = this.#rng;
    const kind = rng.pick(KINDS);
    switch (kind) {
      case 'session': {
        const start = rng.below(this.#session.length);
        const slice = this.#session.slice(start, start + 1 + rng.below(200)).join('');
        return rng.below(4) === 0 ? slice + rng.pick(ATOMS) : slice;
      }
      case 'atoms':
        return this.#many(1 + rng.below(16), () => rng.pick(ATOMS));
      case 'specials':
        return this.#many(1 + rng.below(10), () => {
          if (rng.below(2) === 0) return rng.pick(ATOMS);
          const special = rng.pick(this.#specials);
          return rng.below(3) > 0 ? special : special.slice(rng.below(2), -1 - rng.below(3));
        });
      case 'any':
        return this.#many(1 + rng.below(12), () => String.fromCodePoint(this.#codePoint()));
      case 'run': {
        const atom = rng.below(3) === 0 ? String.fromCodePoint(this.#codePoint()) : rng.pick(ATOMS);
        return atom.repeat(1 + rng.below(60)) + rng.pick(ATOMS);
      }
    }
  }

  #many(count: number, part: () => string): string {
    return Array.from({ length: count }, part).join('');
  }

  /** Assigned or not, but no surrogate; the planes that are mostly empty come less often. */
  #codePoint(): number {
    const rng = this.#rng;
    const limit = rng.pick([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]);
    const code = rng.below(limit);
    return code >= 0xd800 && code < 0xe000 ? code - 0x800 : code;
  }
}

function sessions(): string {
  return TRACES.map((folder) => readFileSync(`test/fixtures/traces/${folder}/messages.jsonl.gz`))
    .map((packed) => gunzipSync(packed).toString('utf8').slice(0, SESSION_CHARACTERS))
    .join('\n');
}
