/** JSON that broke off, read as far as its values are whole. */

/**
 * `{"a": [1, {"b": "cut he` → `{a: [1, {}]}`: a value that is not certain to have ended is left out, with
 * the key before it, and what is open is closed. So do the SDKs that read tool arguments while they
 * stream. Undefined where not even a first bracket or value is there; text that no JSON begins with is
 * left out from there on.
 */
export function wholePart(text: string): unknown {
  /** Closing brackets that are missing, outermost first; and as they were at `cut`. */
  const open: string[] = [];
  let closing = '';
  /** Up to here it is valid, once `closing` stands behind it. */
  let cut = 0;
  let isKey = false;
  TOKEN.lastIndex = 0;
  for (let token = TOKEN.exec(text); token !== null; token = TOKEN.exec(text)) {
    const [, mark, words] = token;
    if (mark === '{' || mark === '[') open.push(mark === '{' ? '}' : ']');
    else if ((mark === '}' || mark === ']') && open.pop() !== mark) break;
    const inObject = open[open.length - 1] === '}';
    const endsValue = mark === undefined && !(isKey && words !== undefined);
    if (endsValue || mark === '{' || mark === '[' || mark === '}' || mark === ']') {
      cut = TOKEN.lastIndex;
      closing = open.toReversed().join('');
    }
    isKey = inObject && (mark === '{' || mark === ',');
    if (cut === TOKEN.lastIndex && open.length === 0) break;
  }
  if (cut === 0) return undefined;
  try {
    return JSON.parse(text.slice(0, cut) + closing);
  } catch {
    return undefined; // Tokens of JSON in an order that is none.
  }
}

/** Numbers count only where something follows: another digit might have. */
const TOKEN =
  /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?=[\s,}\]])|true|false|null)/gy;
