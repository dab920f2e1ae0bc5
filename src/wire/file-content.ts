/** A file that came inside a request. */
import type { Content } from '../model/request.ts';

/**
 * `data`: a data URL, or bare base64. A file of text is shown as such, under its name; any other goes on
 * as it came.
 */
export function fileContent(data: string, name: string | undefined): Content {
  const [, type = '', inside] = /^data:([^;,]*)[^,]*?;base64,(.*)$/s.exec(data) ?? [];
  const base64 = inside ?? data;
  const text = type === '' || type.startsWith('text/') ? textOf(base64) : undefined;
  if (text !== undefined) {
    return { kind: 'text', text: name === undefined ? text : `${name}:\n${text}` };
  }
  const url = `data:${type || 'application/octet-stream'};base64,${base64}`;
  return name === undefined ? { kind: 'file', url } : { kind: 'file', url, name };
}

/** Undefined where the bytes are no text. */
function textOf(base64: string): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(base64, 'base64'));
    return text.includes('\0') ? undefined : text;
  } catch {
    return undefined;
  }
}
