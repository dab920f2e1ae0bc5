/** How Python writes values: `str` in output, `repr` inside of containers. */
import { characters } from './python-text.ts';
import { TemplateError } from './template-error.ts';
import { entriesOf, Float, isDict, isText, Markup, Tuple, typeName, type Value } from './values.ts';

/** `str(value)`, as `{{ value }}` writes it. */
export function print(value: Value): string {
  if (typeof value === 'string') return value;
  if (value === undefined) return '';
  return value instanceof Markup ? value.text : represent(value);
}

function represent(value: Value): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || typeof value === 'bigint') return printNumber(value);
  if (value instanceof Float) return printFloat(value.value);
  if (isText(value)) {
    if (value instanceof Markup)
      throw new TemplateError('a safe string in a list cannot be printed');
    return quote(value);
  }
  if (value instanceof Tuple) {
    return value.length === 1
      ? `(${represent(value[0])},)`
      : `(${value.map(represent).join(', ')})`;
  }
  if (Array.isArray(value)) return `[${value.map(represent).join(', ')}]`;
  if (value === undefined) return 'Undefined';
  if (!isDict(value)) throw new TemplateError(`${typeName(value)} cannot be printed`);
  const pairs = entriesOf(value).map(([key, item]) => `${represent(key)}: ${represent(item)}`);
  return `{${pairs.join(', ')}}`;
}

export function printNumber(value: number | bigint): string {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) return String(value);
  return Number.isInteger(value) ? String(BigInt(value)) : printFloat(value);
}

/** `repr` of a float: the shortest digits that read back, with an exponent outside of 1e-4…1e16. */
export function printFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa, exponentText] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const digits = String(Math.abs(exponent)).padStart(2, '0');
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${digits}`;
  }
  const sign = value < 0 ? '-' : '';
  const digits = mantissa.replace('-', '').replace('.', '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0');
  return `${sign}${whole}.${digits.slice(exponent + 1) || '0'}`;
}

const PRINTABLE = /^[^\p{C}\p{Z}]$|^ $/u;
const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = characters(text).map((character) => {
    if (character === mark) return `\\${mark}`;
    const short = SHORT[character];
    if (short !== undefined) return short;
    if (PRINTABLE.test(character)) return character;
    const code = character.codePointAt(0) ?? 0;
    const hex = code.toString(16);
    if (code < 0x100) return `\\x${hex.padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
  });
  return `${mark}${body.join('')}${mark}`;
}
