/**
 * GPT-2's way to write bytes as characters, in which byte-level vocabularies are kept: printable
 * Latin-1 stands for itself, the other 68 bytes are counted up from U+0100.
 */
export const BYTE_CHARACTERS: readonly string[] = characters();

const BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** The bytes that `text` stands for; undefined where a character of it stands for none. */
export function bytesOf(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = BYTES.get(text[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

function characters(): string[] {
  let spare = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : spare++),
  );
}

/** Without the space, the no-break space and the soft hyphen. */
function printable(byte: number): boolean {
  return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
}
