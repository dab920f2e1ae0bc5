/** What vLLM's API has beside OpenAI's fields, as far as it can be handed on unharmed. */
import type { EngineExtras } from '../model/request.ts';
import {
  type Json,
  optionalBoolean,
  optionalCount,
  optionalNumber,
  tokenIds,
  wrong,
} from './fields.ts';

/** Undefined where the request says none of it. */
export function readExtras(body: Json): EngineExtras | undefined {
  const ignoreEos = optionalBoolean(body.ignore_eos, 'ignore_eos');
  const outputTokensMin = optionalCount(body.min_tokens, 'min_tokens', 0);
  const stops = body.stop_token_ids ?? undefined;
  const skipSpecialTokens = optionalBoolean(body.skip_special_tokens, 'skip_special_tokens');
  const promptTokensMax = readTruncation(body);
  const extras: EngineExtras = {
    ...(ignoreEos !== undefined && { ignoreEos }),
    ...(outputTokensMin !== undefined && { outputTokensMin }),
    ...(stops !== undefined && { stopTokenIds: Array.from(tokenIds(stops, 'stop_token_ids')) }),
    ...(skipSpecialTokens !== undefined && { skipSpecialTokens }),
    ...(promptTokensMax !== undefined && { promptTokensMax }),
  };
  return Object.keys(extras).length > 0 ? extras : undefined;
}

/** Those that an engine takes beside a prompt of ids, in the words of vLLM, SGLang and TensorRT-LLM. */
export function extraFields(extras: EngineExtras | undefined): Json {
  return {
    ignore_eos: extras?.ignoreEos,
    min_tokens: extras?.outputTokensMin,
    stop_token_ids: extras?.stopTokenIds,
  };
}

/** -1: as many as the context holds. */
function readTruncation(body: Json): number | undefined {
  const name = 'truncate_prompt_tokens';
  const count = optionalNumber(body[name], name, { min: -1, max: 2 ** 31 - 1 });
  if (count === undefined) return undefined;
  if (!Number.isInteger(count) || count === 0) throw wrong(name, 'must be a count, or -1');
  return count;
}
