/**
 * Finds the tokens that are cut out of a text before it is pre-tokenized.
 *
 * llama.cpp takes them longest first, each everywhere, over what the longer ones left
 * (`tokenizer_st_partition`). Where no two of them can overlap by an end and a beginning, that is
 * the same as taking the longest at each place from left to right, which needs one pass; `overlap`
 * finds the vocabularies where two can.
 */
export class SpecialTokens {
  readonly #root: Node = { id: undefined, next: new Map() };
  /** By the low 16 bits of a code point: whether one may begin here. */
  readonly #begins = new Uint8Array(0x10000);

  constructor(specials: readonly { id: number; text: string }[]) {
    for (const { id, text } of specials) {
      const codePoints = Array.from(text, (character) => character.codePointAt(0) as number);
      let node = this.#root;
      for (const codePoint of codePoints) {
        const known = node.next.get(codePoint);
        const next = known ?? { id: undefined, next: new Map() };
        if (known === undefined) node.next.set(codePoint, next);
        node = next;
      }
      node.id = id;
      this.#begins[codePoints[0] & 0xffff] = 1;
    }
  }

  /** The longest special token that begins at `at`. */
  match(codePoints: Uint32Array, at: number, end: number): Match | undefined {
    if (this.#begins[codePoints[at] & 0xffff] === 0) return undefined;
    let longest: Match | undefined;
    let node: Node | undefined = this.#root;
    for (let i = at; i < end; i++) {
      node = node.next.get(codePoints[i]);
      if (node === undefined) break;
      if (node.id !== undefined) longest = { id: node.id, end: i + 1 };
    }
    return longest;
  }
}

export interface Match {
  id: number;
  end: number;
}

interface Node {
  id: number | undefined;
  next: Map<number, Node>;
}

/** Two different texts of which one can end with how the other begins, if there are such. */
export function overlap(texts: readonly string[]): { ends: string; begins: string } | undefined {
  const beginnings = new Map<string, string[]>();
  for (const text of texts) {
    for (let length = 1; length < text.length; length++) {
      const beginning = text.slice(0, length);
      const owners = beginnings.get(beginning);
      if (owners === undefined) beginnings.set(beginning, [text]);
      else if (owners.length < 2) owners.push(text); // one is not the text itself
    }
  }
  for (const ends of texts) {
    for (let start = 1; start < ends.length; start++) {
      const begins = beginnings.get(ends.slice(start))?.find((owner) => owner !== ends);
      if (begins !== undefined) return { ends, begins };
    }
  }
  return undefined;
}
