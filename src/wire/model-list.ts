/**
 * Which models are served, as OpenAI's clients and as Anthropic's list them. Whoever names a version of
 * Anthropic's API is answered in its shape.
 */
import { GatewayError } from '../model/error.ts';
import type { Headers } from './headers.ts';

/** What is told of a model. */
export interface ListedModel {
  name: string;
  /** Random weights: it is for trying things out. */
  demo: boolean;
  contextTokens: number;
}

export function listOfModels(
  models: readonly ListedModel[],
  headers: Headers,
  query: URLSearchParams,
): unknown {
  if (!isAnthropic(headers)) return { object: 'list', data: models.map(openaiModel) };
  const { page, hasMore } = pageOf(models, query);
  const data = page.map(anthropicModel);
  return {
    data,
    has_more: hasMore,
    first_id: data[0]?.id ?? null,
    last_id: data[data.length - 1]?.id ?? null,
  };
}

export function oneModel(model: ListedModel, headers: Headers): unknown {
  return isAnthropic(headers) ? anthropicModel(model) : openaiModel(model);
}

function isAnthropic(headers: Headers): boolean {
  return headers['anthropic-version'] !== undefined;
}

function openaiModel(model: ListedModel) {
  return {
    id: model.name,
    object: 'model',
    created: 0,
    owned_by: 'stator',
    max_model_len: model.contextTokens,
    ...warningOf(model),
  };
}

function anthropicModel(model: ListedModel) {
  const { name, demo, contextTokens } = model;
  return {
    type: 'model',
    id: name,
    display_name: demo ? `${name} (random weights: its text is noise)` : name,
    created_at: '1970-01-01T00:00:00Z',
    max_input_tokens: contextTokens,
    max_tokens: contextTokens,
    ...{ capabilities: null, line: null },
    ...{ lifecycle: 'active', deprecated_at: null, retires_at: null },
    ...warningOf(model),
  };
}

function warningOf({ demo }: ListedModel): object {
  return demo
    ? { warning: 'Random weights: the text is noise, while speed and reuse are real.' }
    : {};
}

const PAGE_DEFAULT = 20;
const PAGE_MAX = 1000;

/** `limit`, and `after_id` or `before_id`; names that are not (or no longer) there bound nothing. */
function pageOf(
  models: readonly ListedModel[],
  query: URLSearchParams,
): { page: readonly ListedModel[]; hasMore: boolean } {
  const asked = query.get('limit') ?? String(PAGE_DEFAULT);
  const limit = /^\d{1,4}$/.test(asked) ? Number(asked) : 0;
  if (limit < 1 || limit > PAGE_MAX) {
    const sentence = `limit must be a whole number from 1 to ${PAGE_MAX}.`;
    throw new GatewayError('invalid_request', sentence, { param: 'limit' });
  }
  const placeOf = (id: string | null) => models.findIndex(({ name }) => name === id);
  const before = placeOf(query.get('before_id'));
  if (before >= 0) {
    const page = models.slice(Math.max(0, before - limit), before);
    return { page, hasMore: before > limit };
  }
  const rest = models.slice(placeOf(query.get('after_id')) + 1);
  return { page: rest.slice(0, limit), hasMore: rest.length > limit };
}
