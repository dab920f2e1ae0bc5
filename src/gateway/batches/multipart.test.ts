import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readForm } from './multipart.ts';

const LIMITS = { fieldBytesMax: 200, fieldsMax: 3 };

test('however a form is cut, its file and its fields come out as they went in', async () => {
  // Made of what could be taken for the end of a part.
  const content = fc.array(
    fc.constantFrom('\r\n', '--', '--b0u', '\r\n--b0un', 'd', '\r', '-', 'x'),
  );
  await fc.assert(
    fc.asyncProperty(
      content.map((words) => words.join('')),
      fc.array(fc.nat(400), { maxLength: 8 }),
      fc.boolean(),
      async (text, cuts, fileFirst) => {
        const parts = [filePart(text), fieldPart('purpose', 'batch')];
        const bytes = formOf(fileFirst ? parts : parts.toReversed());
        const { fields, file } = await read(pieces(bytes, cuts));
        assert.deepEqual([...fields], [['purpose', 'batch']]);
        assert.deepEqual(file, { filename: 'ä.jsonl', text });
      },
    ),
    { numRuns: 100 },
  );
});

test('a form that ends anywhere before its end is refused', async () => {
  const bytes = formOf([fieldPart('purpose', 'batch'), filePart('line\n')]);
  for (let end = 0; end < bytes.length - 2; end++) {
    await assert.rejects(read(pieces(bytes.subarray(0, end), [])), { code: 'invalid_request' });
  }
});

test('what is no form, or too much of one, is refused', async () => {
  const plain = formOf([filePart('a')]);
  const cases: [type: string, bytes: Buffer][] = [
    ['', plain],
    ['application/json', plain],
    ['multipart/form-data', plain],
    [TYPE, formOf([filePart('a'), filePart('b')])],
    [TYPE, formOf([fieldPart('long', 'x'.repeat(201))])],
    [TYPE, formOf(['a', 'b', 'c', 'd'].map((name) => fieldPart(name, '')))],
    [TYPE, Buffer.from(`--b0und9\r\nx-header: ${'y'.repeat(10_000)}`)],
    [TYPE, formOf(['content-disposition: form-data\r\n\r\nnameless'])],
  ];
  for (const [type, bytes] of cases) {
    await assert.rejects(read(pieces(bytes, [50]), type), { code: 'invalid_request' });
  }
});

const TYPE = 'multipart/form-data; charset=utf-8; boundary="b0und9"';

async function read(bytes: AsyncIterable<Uint8Array>, contentType: string | undefined = TYPE) {
  return readForm({ contentType, bytes, limits: LIMITS }, async ({ filename, content }) => {
    const all: Uint8Array[] = [];
    for await (const piece of content) all.push(piece);
    return { filename, text: Buffer.concat(all).toString('utf8') };
  });
}

function filePart(text: string): string {
  const about = 'Content-Disposition: form-data; name="file"; filename="ä.jsonl"';
  return `${about}\r\nContent-Type: application/jsonl\r\n\r\n${text}`;
}

function fieldPart(name: string, value: string): string {
  return `content-disposition: form-data; name="${name}"\r\n\r\n${value}`;
}

function formOf(parts: readonly string[]): Buffer {
  return Buffer.from(`${parts.map((part) => `--b0und9\r\n${part}\r\n`).join('')}--b0und9--\r\n`);
}

async function* pieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < at.length; i++) yield bytes.subarray(at[i - 1], at[i]);
}
