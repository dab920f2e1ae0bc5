/**
 * Reasoning that a client carries for us. Clients that keep nothing here (`store: false`) ask for
 * `encrypted_content` and send it back as it came; the prompt of the next turn then begins with exactly
 * what the model wrote, and its KV is found again.
 *
 * Packed, not encrypted: the same words stand in the clear in the same item, so a key would hide
 * nothing from anybody, and it would make sessions depend on which gateway answered last. What was
 * packed elsewhere cannot be read here and counts as absent.
 */
const MARK = 'stator:1:';

export function packReasoning(text: string): string {
  return MARK + Buffer.from(text).toString('base64url');
}

/** The text, or undefined where somebody else packed it, or it was cut on its way. */
export function unpackReasoning(packed: string): string | undefined {
  if (!packed.startsWith(MARK)) return undefined;
  const encoded = packed.slice(MARK.length);
  const bytes = Buffer.from(encoded, 'base64url');
  return bytes.toString('base64url') === encoded ? bytes.toString() : undefined;
}
