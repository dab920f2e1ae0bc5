/** The Responses wire for one turn: it reads what the turn became, and tells what was answered. */
import { GatewayError } from '../../model/error.ts';
import type { Part } from '../../model/part.ts';
import type { Json } from '../../wire/fields.ts';
import { openaiResponses } from '../../wire/responses.ts';
import { echoing } from '../../wire/responses-ask.ts';
import { ResponsesFramer } from '../../wire/responses-frames.ts';
import type { ResponseObject } from '../../wire/responses-items.ts';
import { dispatching } from '../../wire/tool-dispatch.ts';
import type { Ask, Framer, Opening, Wire } from '../../wire/wire.ts';
import { conversationId } from './response-ids.ts';
import type { Turn } from './turn.ts';

export interface KeptWire extends Wire {
  /** As it was read; undefined where it could not be. */
  readonly ask: Ask | undefined;
}

/** `ended` hears of the response when it is whole, or has failed in mid-stream. */
export function keptWire(turn: Turn, ended: (response: ResponseObject) => void): KeptWire {
  let ask: Ask | undefined;
  const ours = (opening: Opening): Opening => ({ ...opening, id: turn.id });
  return {
    ...openaiResponses,
    get ask() {
      return ask;
    },
    parse(body) {
      ask = threaded(echoing(parsed(body, turn), echoOf(turn)), turn);
      return ask;
    },
    framer: (asked, opening) =>
      dispatching(asked, new KeptFramer(new ResponsesFramer(asked, ours(opening)), ended)),
    whole(asked, opening, answer) {
      const response = openaiResponses.whole(asked, ours(opening), answer) as ResponseObject;
      ended(response);
      return response;
    },
  };
}

class KeptFramer implements Framer {
  readonly #framer: ResponsesFramer;
  readonly #ended: (response: ResponseObject) => void;

  constructor(framer: ResponsesFramer, ended: (response: ResponseObject) => void) {
    this.#framer = framer;
    this.#ended = ended;
  }

  open(): string {
    return this.#framer.open();
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    const frames = this.#framer.part(part, extras);
    // Before its last event goes out: who has it may ask for it.
    if (this.#framer.response !== undefined) this.#ended(this.#framer.response);
    return frames;
  }

  keepAlive(): string {
    return this.#framer.keepAlive();
  }
}

function parsed(body: unknown, { earlier }: Turn): Ask {
  try {
    return openaiResponses.parse(body);
  } catch (thrown) {
    throw thrown instanceof GatewayError ? asSent(thrown, earlier) : thrown;
  }
}

/** What is wrong with an item is said of its place in what the client sent. */
function asSent(error: GatewayError, earlier: number): GatewayError {
  const moved = (text: string) =>
    text.replace(/^input\[(\d+)\]/, (whole, place: string) =>
      Number(place) < earlier ? whole : `input[${Number(place) - earlier}]`,
    );
  if (earlier === 0 || error.param === undefined) return error;
  const { code, message, param, cause } = error;
  return new GatewayError(code, moved(message), { param: moved(param), cause });
}

function echoOf({ previous, inConversation, chainKey, isStored, inBackground }: Turn): Json {
  return {
    previous_response_id: previous ?? null,
    ...(inConversation && { conversation: { id: conversationId(chainKey) } }),
    store: isStored,
    background: inBackground,
  };
}

/** The thread of what it continues, where the request names none itself. */
function threaded(ask: Ask, { thread, previous, inBackground }: Turn): Ask {
  const field = previous === undefined ? 'conversation' : 'previous_response_id';
  const names = thread === undefined ? [] : [{ field, value: thread }];
  // Whoever fetches it later reads its events from the start.
  return { ...ask, names: [...ask.names, ...names], stream: ask.stream || inBackground };
}
