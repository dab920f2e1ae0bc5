/**
 * Finds where a JSON object ends while its text still grows, looking at each character once. It
 * says `wrong` as soon as no JSON object can come of it, so that broken calls do not hold back the
 * rest of an answer; whether the object is really valid is for a parser to say.
 */
export class JsonObjectScan {
  #read = 0;
  #depth = 0;
  #inString = false;
  #isEscaped = false;

  /** Characters up to and with the object's last brace, once it is there. */
  end: number | undefined;

  /** Goes on with `text`, which follows what was scanned before. */
  scan(text: string): 'more' | 'whole' | 'wrong' {
    if (this.end !== undefined) return 'whole';
    for (const character of text) {
      this.#read += character.length;
      if (!this.#fits(character)) return 'wrong';
      if (this.#depth === 0 && character === '}') {
        this.end = this.#read;
        return 'whole';
      }
    }
    return 'more';
  }

  #fits(character: string): boolean {
    if (this.#inString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#inString = false;
      return character >= ' ';
    }
    if (this.#depth === 0 && character !== '{') return BLANK.includes(character);
    if (character === '"') this.#inString = true;
    else if (character === '{' || character === '[') this.#depth++;
    else if (character === '}' || character === ']') this.#depth--;
    else return OUTSIDE_STRINGS.includes(character);
    return true;
  }
}

const BLANK = ' \t\n\r';
const OUTSIDE_STRINGS = `${BLANK}:,0123456789+-.eEtrufalsn`;
