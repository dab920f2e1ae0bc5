/** For the tests of formats: an answer taken apart, in short, and what must hold for any format. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Part } from '../../model/part.ts';
import type { Tool } from '../../model/request.ts';
import { AnswerParser } from './answer-parser.ts';
import { dialectOf, type ParserNames } from './dialect.ts';

export interface Case {
  name: string;
  text: string;
  /** As `shown` writes them. */
  parts: string[];
  isOpen?: boolean;
}

export const TOOLS: Tool[] = [
  tool('f', {}),
  tool('get_weather', {
    city: { type: 'string' },
    days: { type: 'integer' },
    units: { type: 'string', enum: ['c', 'f'] },
    exact: { type: 'boolean' },
    places: { type: 'array', items: { type: 'object' } },
    any: {},
    limit: { anyOf: [{ type: 'number' }, { type: 'null' }] },
  }),
  tool('write', { path: { type: 'string' }, content: { type: 'string' } }),
];

/** Tests the cases, and that neither cuts nor hostile texts change or lose anything. */
export function checkFormat(names: ParserNames, cases: readonly Case[], atoms: string[]): void {
  const format = names.toolCalls ?? names.reasoning;

  test(`${format}: answers are taken apart`, () => {
    for (const { name, text, parts, isOpen } of cases) {
      assert.deepEqual(shown(parse(names, [text], isOpen)), parts, name);
    }
  });

  test(`${format}: any cutting of an answer gives the same parts`, () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.constantFrom(...cases), sizes, ({ text, parts, isOpen }, each) => {
        assert.deepEqual(shown(parse(names, cut(text, each), isOpen)), parts);
      }),
      { numRuns: 1000 },
    );
  });

  test(`${format}: an answer may break off anywhere`, () => {
    for (const { text, isOpen } of cases) {
      for (let end = 0; end < text.length; end++) {
        const whole = parse(names, [text.slice(0, end)], isOpen);
        assert.deepEqual(shown(parse(names, cut(text.slice(0, end), [1]), isOpen)), shown(whole));
        assert.equal(tokensOf(whole), end);
      }
    }
  });

  test(`${format}: any text is cut alike, its tokens are counted, and without calls it is whole`, () => {
    const plain = ['\n', ' ', 'x', '"', '\\', '{', '}', '[', ']', '(', ')', ',', ':', '<', '😀'];
    const atom = fc.oneof(fc.constantFrom(...atoms), fc.constantFrom(...plain));
    fc.assert(
      fc.property(
        fc.array(atom, { maxLength: 14 }),
        fc.integer({ min: 1, max: 6 }),
        (all, size) => {
          const text = all.join('');
          const whole = parse(names, [text]);
          const pieces = parse(names, cut(text, [size]));
          assert.deepEqual(shown(pieces), shown(whole));
          assert.equal(tokensOf(pieces), text.length);
          assert.equal(tokensOf(whole), text.length);
          const isPlain = whole.every(({ kind }) => kind === 'text');
          if (isPlain && names.toolCalls !== 'openai' && names.reasoning === 'none') {
            assert.equal(shown(whole).join(''), text === '' ? '' : `text ${text}`);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
}

/** Parts that have left after each chunk, in short. */
export function streamed(names: ParserNames, chunks: readonly string[]): string[][] {
  const parser = parserOf(names, false);
  return [...chunks.map((it) => parser.push(it, 1)), parser.end()].map(shown);
}

export function parse(names: ParserNames, chunks: readonly string[], isOpen = false): Part[] {
  const parser = parserOf(names, isOpen);
  return [...chunks.flatMap((it) => parser.push(it, it.length)), ...parser.end()];
}

/** Parts in short, neighbours of a kind as one. */
export function shown(parts: readonly Part[]): string[] {
  const lines: string[] = [];
  let last = '';
  for (const part of parts) {
    const isMore = last === part.kind && part.kind !== 'toolCall';
    if (part.kind === 'toolCall') lines.push(`call ${part.name} ${part.id}`);
    else if ('text' in part && part.text === '') continue;
    else if (isMore && 'text' in part) lines[lines.length - 1] += part.text;
    else if (part.kind === 'toolArguments') lines.push(part.text);
    else if (part.kind === 'text' || part.kind === 'reasoning') {
      lines.push(`${part.kind} ${part.text}`);
    }
    last = part.kind;
  }
  return lines;
}

function parserOf(names: ParserNames, isOpen: boolean): AnswerParser {
  const dialect = dialectOf('', names);
  let calls = 0;
  const callId = (written: string | undefined) => written ?? `#${calls++}`;
  return new AnswerParser({ dialect, isOpen, tools: TOOLS, callId });
}

function cut(text: string, sizes: readonly number[]): string[] {
  const chunks: string[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    chunks.push(text.slice(at, at + sizes[i % sizes.length]));
    at += sizes[i % sizes.length];
  }
  return chunks;
}

function tokensOf(parts: readonly Part[]): number {
  return parts.reduce((sum, part) => sum + ('tokens' in part ? part.tokens : 0), 0);
}

function tool(name: string, properties: Record<string, unknown>): Tool {
  return { name, description: `Does ${name}.`, parameters: { type: 'object', properties } };
}
