/**
 * An early word for agents that asked for it (`nvext.extra_fields: ["tool_call_dispatch"]`): as soon as
 * the arguments of a tool call are whole, one more event says the whole call, so that the tool can start
 * before the answer ends. The call's usual events are sent all the same. As Dynamo's frontend does it
 * (`--enable-streaming-tool-dispatch`); clients that do not know the event skip it.
 */
import { JsonScan } from '../base/json-scan.ts';
import type { Part } from '../model/part.ts';
import { sse } from './sse.ts';
import type { Ask, Framer } from './wire.ts';

export const TOOL_CALL_DISPATCH = 'tool_call_dispatch';

/** The same framer, saying that too where the request asks for it. */
export function dispatching({ hints }: Pick<Ask, 'hints'>, framer: Framer): Framer {
  return hints.extraFields.includes(TOOL_CALL_DISPATCH) ? new DispatchingFramer(framer) : framer;
}

/** A call whose arguments still come. */
interface Open {
  index: number;
  id: string;
  name: string;
  arguments: string;
  scan: JsonScan;
}

class DispatchingFramer implements Framer {
  readonly #framer: Framer;
  /** The last call of each choice, until it was told of. */
  readonly #open = new Map<number, Open>();

  constructor(framer: Framer) {
    this.#framer = framer;
  }

  open(): string {
    return this.#framer.open();
  }

  part(part: Part, extras?: Record<string, unknown>): string {
    const before = this.#endedBy(part);
    return before + this.#framer.part(part, extras) + this.#wholeWith(part);
  }

  keepAlive(): string {
    return this.#framer.keepAlive();
  }

  /** A call without arguments is whole when something else comes, or the answer ends as it should. */
  #endedBy(part: Part): string {
    if (part.kind === 'toolArguments' || part.kind === 'error') return '';
    const ends = part.kind === 'done' || part.kind === 'ended';
    const isGood = !ends || part.finish.kind !== 'length';
    const choices = part.kind === 'done' ? [...this.#open.keys()] : [part.choice ?? 0];
    return choices.map((choice) => this.#close(choice, isGood)).join('');
  }

  #close(choice: number, isGood: boolean): string {
    const open = this.#open.get(choice);
    this.#open.delete(choice);
    if (open === undefined || !isGood || open.arguments.trim() !== '') return '';
    return told(choice, { ...open, arguments: '{}' });
  }

  #wholeWith(part: Part): string {
    if (part.kind === 'toolCall') {
      const { choice = 0, index, id, name } = part;
      this.#open.set(choice, { index, id, name, arguments: '', scan: new JsonScan() });
      return '';
    }
    if (part.kind !== 'toolArguments') return '';
    const open = this.#open.get(part.choice ?? 0);
    if (open === undefined) return '';
    open.arguments += part.text;
    open.scan.scan(part.text, 0);
    if (open.scan.state === 'more') return '';
    this.#open.delete(part.choice ?? 0);
    return open.scan.state === 'whole' ? told(part.choice ?? 0, open) : '';
  }
}

function told(choice: number, { index, id, name, arguments: text }: Open): string {
  const call = { index, id, type: 'function', function: { name, arguments: text } };
  // Clients of chat completions that do not look at the event's name find a chunk of no choices.
  const data = { type: TOOL_CALL_DISPATCH, choice_index: choice, tool_call: call, choices: [] };
  return sse(JSON.stringify(data), TOOL_CALL_DISPATCH);
}
