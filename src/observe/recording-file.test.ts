import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readTrace } from '../traces/read-trace.ts';
import { RecordingFile } from './recording-file.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'stator-recording-'));
after(() => rmSync(FOLDER, { recursive: true }));

const HEADER =
  '{"schema":"stator.recording","version":1,"blockTokens":16,"clock":"trace","began":"1970-01-01T00:00:05.000Z"}';
const LIMITS = { bytesMax: 1e6, complain: (sentence: string) => assert.fail(sentence) };

test('a recording goes on after a torn line, which its reader counts', async () => {
  const path = join(FOLDER, 'torn.jsonl');
  const first = new RecordingFile(path, LIMITS);
  assert.equal(first.beganMs, undefined);
  for (const row of [HEADER, rowOf('a')]) assert.ok(first.write(row));
  await first.close();
  assert.ok(!first.write(rowOf('late')), 'a closed file takes nothing');
  appendFileSync(path, rowOf('b').slice(0, 30));
  const second = new RecordingFile(path, LIMITS);
  assert.equal(second.beganMs, 5000);
  assert.ok(second.write(rowOf('c')));
  await second.close();
  const trace = await readTrace(path);
  assert.equal(trace.turnCount, 2);
  assert.equal(trace.about.malformed.count, 1);
  if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('it ends where it is as large as it may be, and says so once', async () => {
  const path = join(FOLDER, 'full.jsonl');
  const said: string[] = [];
  const bytesMax = HEADER.length + 1 + 2 * (rowOf('a').length + 1);
  const file = new RecordingFile(path, { bytesMax, complain: (sentence) => said.push(sentence) });
  const taken = [HEADER, ...'abcd'].map((row) => file.write(row === HEADER ? row : rowOf(row)));
  await file.close();
  assert.deepEqual(taken, [true, true, true, false, false]);
  assert.equal(statSync(path).size, bytesMax);
  assert.equal(said.length, 1);
});

test('another file is never written to', () => {
  const path = join(FOLDER, 'other.jsonl');
  for (const content of ['{"private": true}\n', 'no JSON at all', '[]']) {
    writeFileSync(path, content);
    assert.throws(() => new RecordingFile(path, LIMITS), /is no recording of a gateway/);
    assert.equal(readFileSync(path, 'utf8'), content);
  }
});

test('a disk that fails is said, and rows are refused from then on', async () => {
  const said: string[] = [];
  const path = join(FOLDER, 'nowhere', 'file.jsonl');
  const failed = new Promise<void>((resolve) => {
    const complain = (sentence: string) => {
      said.push(sentence);
      resolve();
    };
    new RecordingFile(path, { ...LIMITS, complain }).write(HEADER);
  });
  await failed;
  assert.match(said[0], /is not written any more: ENOENT/);
});

function rowOf(id: string): string {
  const counts = { startMs: 0, promptTokens: 16, outputTokens: 1, keep: 0, blocks: ['x'] };
  return JSON.stringify({ id, session: id, model: 'm', ...counts });
}
