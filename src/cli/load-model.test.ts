import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { writeModelFolder } from '../../test/vllm/model-folder.ts';
import type { Chat } from '../model/request.ts';
import { demoModel } from '../weights/demo-model.ts';
import { loadTokens } from './load-model.ts';

const BLOCK = 32;
const folder = mkdtempSync(join(tmpdir(), 'stator-load-model-'));
process.env.STATOR_CACHE = join(folder, 'cache');
after(() => rmSync(folder, { recursive: true, force: true }));

test('a folder as Hugging Face has models, its tokenizer.json and a GGUF of the same model agree', () => {
  const path = join(folder, 'model');
  writeModelFolder(path);
  const gguf = loadTokens(demoModel(folder), BLOCK);
  const chat: Chat = {
    model: 'm',
    messages: [
      { role: 'user', content: [{ kind: 'text', text: 'Größe?\n\n\tit’s 漢字 🇫🇷 12345' }] },
    ],
    tools: [{ name: 'weather', description: 'Of a city', parameters: { type: 'object' } }],
    toolChoice: { kind: 'auto' },
    thinking: undefined,
  };
  for (const given of [path, join(path, 'tokenizer.json')]) {
    const { tokens, templateProblem } = loadTokens(given, BLOCK);
    assert.equal(templateProblem, undefined);
    const text = tokens.render(chat);
    assert.equal(text, gguf.tokens.render(chat));
    assert.deepEqual(tokens.encode(text), gguf.tokens.encode(text));
    assert.deepEqual(tokens.endTokens, gguf.tokens.endTokens);
    assert.equal(tokens.hasher.blockTokens, BLOCK);
  }
});

test('what is no model is named in one sentence', () => {
  const empty = join(folder, 'tokenizer.json');
  writeFileSync(empty, '{"model": {"type": "WordPiece"}}');
  assert.throws(
    () => loadTokens(empty, BLOCK),
    /^Error: [^\n]*cannot be tokenized here, because[^\n]*$/,
  );
  assert.throws(() => loadTokens(join(folder, 'nowhere'), BLOCK), /nowhere/);
});
