import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ListedModel, listOfModels, oneModel } from './model-list.ts';

const MODELS: ListedModel[] = ['a', 'b', 'c', 'd'].map((name) => {
  return { name, demo: name === 'a', contextTokens: 4096 };
});
const ANTHROPIC = { 'anthropic-version': '2023-06-01' };

interface Page {
  data: { id: string }[];
  has_more: boolean;
  first_id: string | null;
  last_id: string | null;
}

test('each vendor’s clients get their own shape', () => {
  assert.deepEqual(oneModel(MODELS[1], {}), {
    id: 'b',
    object: 'model',
    created: 0,
    owned_by: 'stator',
    max_model_len: 4096,
  });
  assert.deepEqual(oneModel(MODELS[1], ANTHROPIC), {
    type: 'model',
    id: 'b',
    display_name: 'b',
    created_at: '1970-01-01T00:00:00Z',
    max_input_tokens: 4096,
    max_tokens: 4096,
    capabilities: null,
    line: null,
    lifecycle: 'active',
    deprecated_at: null,
    retires_at: null,
  });
  const { object, data } = listOfModels(MODELS, {}, new URLSearchParams('limit=1')) as {
    object: string;
    data: unknown[];
  };
  assert.deepEqual([object, data.length], ['list', 4]);
  for (const headers of [{}, ANTHROPIC]) {
    assert.match(JSON.stringify(oneModel(MODELS[0], headers)), /noise/, 'it says what it is');
  }
});

test('Anthropic’s pages, forth and back', () => {
  const page = (query: string) => {
    const { data, ...rest } = listOfModels(MODELS, ANTHROPIC, new URLSearchParams(query)) as Page;
    return { ids: data.map(({ id }) => id).join(''), ...rest };
  };
  assert.deepEqual(page(''), { ids: 'abcd', has_more: false, first_id: 'a', last_id: 'd' });
  assert.deepEqual(page('limit=3'), { ids: 'abc', has_more: true, first_id: 'a', last_id: 'c' });
  assert.equal(page('limit=3&after_id=c').ids, 'd');
  assert.deepEqual(page('after_id=d'), { ids: '', has_more: false, first_id: null, last_id: null });
  assert.deepEqual(page('limit=2&before_id=d').ids, 'bc');
  assert.equal(page('limit=2&before_id=d').has_more, true);
  assert.equal(page('limit=2&before_id=c').has_more, false);
  assert.equal(page('after_id=gone').ids, 'abcd');
  for (const limit of ['0', '1001', 'x', '-1', '1.5']) {
    assert.throws(() => page(`limit=${limit}`), /limit must be/, limit);
  }
});
