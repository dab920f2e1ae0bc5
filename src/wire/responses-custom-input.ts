/**
 * The input of a custom tool, out of the arguments of the function that a model knows it by:
 *
 *   {"input": "*** Begin Patch\n…"}   →   *** Begin Patch⏎…
 *
 * Read as it is written, in pieces cut anywhere. A model that writes something else means it as the
 * input itself: then all of it comes at the end.
 */
const OPENING = /^\s*\{\s*"input"\s*:\s*"/;
/** What an opening can be the beginning of; longer texts are none. */
const OPENING_CHARACTERS_MAX = 64;

const ESCAPES: Record<string, string> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

export class CustomInput {
  /** Not yet read: before the opening all of it, behind it at most an escape that was cut. */
  #rest = '';
  #state: 'opening' | 'inside' | 'closed' | 'other' = 'opening';

  /** What of the input became known by this piece. */
  push(text: string): string {
    if (this.#state === 'closed') return '';
    this.#rest += text;
    if (this.#state === 'opening') {
      const opening = OPENING.exec(this.#rest)?.[0].length ?? Number.POSITIVE_INFINITY;
      if (opening > OPENING_CHARACTERS_MAX) {
        if (this.#rest.length > OPENING_CHARACTERS_MAX) this.#state = 'other';
        return '';
      }
      this.#rest = this.#rest.slice(opening);
      this.#state = 'inside';
    }
    return this.#state === 'inside' ? this.#inside() : '';
  }

  /** The rest of it. */
  end(): string {
    const said = this.#state === 'opening' || this.#state === 'other' ? spoken(this.#rest) : '';
    this.#rest = '';
    this.#state = 'closed';
    return said;
  }

  #inside(): string {
    let said = '';
    let at = 0;
    while (at < this.#rest.length) {
      const character = this.#rest[at];
      if (character === '"') {
        this.#state = 'closed';
        at = this.#rest.length;
      } else if (character !== '\\') {
        said += character;
        at++;
      } else {
        const length = this.#rest[at + 1] === 'u' ? 6 : 2;
        if (at + length > this.#rest.length) break;
        said += unescaped(this.#rest.slice(at, at + length));
        at += length;
      }
    }
    this.#rest = this.#rest.slice(at);
    if (this.#state === 'closed' || !/[\ud800-\udbff]$/.test(said)) return said;
    // Half a character waits for its other half: alone, not every client can read it.
    this.#rest = said.slice(-1) + this.#rest;
    return said.slice(0, -1);
  }
}

/** The whole input of a call whose arguments are known to their end. */
export function customInput(argumentsJson: string): string {
  const input = new CustomInput();
  return input.push(argumentsJson) + input.end();
}

/** The arguments that a model sees of such a call later. */
export function customArguments(input: string): string {
  return JSON.stringify({ input });
}

function unescaped(written: string): string {
  if (written[1] !== 'u') return ESCAPES[written[1]] ?? written;
  const code = Number.parseInt(written.slice(2), 16);
  return /^[0-9a-f]{4}$/i.test(written.slice(2)) ? String.fromCharCode(code) : written;
}

/** An object whose fields came in another order still has its input. */
function spoken(text: string): string {
  try {
    const { input } = JSON.parse(text) as { input?: unknown };
    if (typeof input === 'string') return input;
  } catch {
    // It is no object: the model meant the text itself.
  }
  return text;
}
