/**
 * Arguments of a tool call as the Messages API has them, an object. Clients read it while it streams and
 * give the whole answer up where it is no JSON; so what does not continue the object is left out, and
 * arguments that are none are told as one: `{"arguments": "what the model wrote"}`.
 */
import { wholePart } from '../base/json-prefix.ts';
import { JsonScan } from '../base/json-scan.ts';

export class ToolInput {
  readonly #scan = new JsonScan();
  #form: 'unknown' | 'object' | 'quoted' = 'unknown';

  /** What is sent of the object for this piece. */
  push(text: string): string {
    let opening = '';
    let rest = text;
    if (this.#form === 'unknown') {
      rest = text.trimStart();
      if (rest === '') return '';
      this.#form = rest.startsWith('{') ? 'object' : 'quoted';
      if (this.#form === 'quoted') opening = '{"arguments":"';
    }
    if (this.#form === 'quoted') return opening + JSON.stringify(rest).slice(1, -1);
    return this.#scan.state === 'more' ? rest.slice(0, this.#scan.scan(rest, 0)) : '';
  }

  /** The rest of it. */
  end(): string {
    return this.#form === 'quoted' ? '"}' : '';
  }
}

/** The same as clients put it together; values that broke off are left out. */
export function toolInput(argumentsJson: string): unknown {
  const input = new ToolInput();
  return wholePart(input.push(argumentsJson) + input.end()) ?? {};
}
