/** Short ASCII words that are found by their bytes, without making strings of those. */
export class Words {
  readonly #texts: readonly string[];
  /** FNV-1a of a word → its index; two words of one set never share it. */
  readonly #byHash = new Map<number, number>();

  constructor(texts: readonly string[]) {
    this.#texts = texts;
    texts.forEach((text, i) => {
      this.#byHash.set(hashOf(Uint8Array.from(text, (character) => character.charCodeAt(0))), i);
    });
    if (this.#byHash.size !== texts.length) throw new RangeError('two of the words share a hash');
  }

  find(bytes: Uint8Array): number | undefined {
    const index = this.#byHash.get(hashOf(bytes));
    if (index === undefined) return undefined;
    const text = this.#texts[index];
    if (text.length !== bytes.length) return undefined;
    for (let i = 0; i < bytes.length; i++) if (text.charCodeAt(i) !== bytes[i]) return undefined;
    return index;
  }
}

function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash;
}
