/** What the Responses wire keeps of a request, besides its prompt, for the answers to it. */
import type { Json } from './fields.ts';
import type { Item } from './responses-items.ts';
import type { ToolFaces } from './responses-tools.ts';
import type { Ask } from './wire.ts';

export interface ResponsesAsk {
  /** Fields of the response object that repeat the request, defaults filled in. */
  echo: Json;
  /** How the client knows the tools that the model is shown. */
  faces: ToolFaces;
  /** Where reasoning is told: as `content` of its item, or as the `summary` the client asked for. */
  reasoningAs: 'content' | 'summary';
  /** Whether reasoning items bear `encrypted_content`, so that a client may keep nothing else. */
  packsReasoning: boolean;
  /** What of the request could not be served and was left out, in words; goes into `nvext.note`. */
  note: string | undefined;
  /** Of a request to compact its conversation: what stays as it was. */
  kept?: readonly Item[];
}

/**
 * The same request, with other words in its answers: whoever keeps responses says so here (`store`,
 * `previous_response_id`, `conversation`, `background`), for the wire itself knows nothing kept.
 */
export function echoing(ask: Ask, fields: Json): Ask {
  if (ask.responses === undefined) return ask;
  const echo = { ...ask.responses.echo, ...fields };
  return { ...ask, responses: { ...ask.responses, echo } };
}
