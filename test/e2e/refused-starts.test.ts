/** Starts that cannot be: one sentence that names cause and mend, the right exit code, nothing left. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  CACHE,
  demoModel,
  FOLDER,
  isAlive,
  leftovers,
  runToEnd,
  Stack,
  startUp,
  until,
  write,
} from './stack.ts';

test('a port in use: said before any model or worker is there', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cache = join(FOLDER, 'never');
  const { code, stdout, stderr } = await runToEnd(['up', `--port=${port}`], {
    STATOR_CACHE: cache,
  });
  server.close();
  assert.equal(code, 1);
  assertSentence(
    stderr,
    new RegExp(`^stator: Port ${port} is in use by another program; .*--port`),
  );
  assert.doesNotMatch(stdout, /gateway/);
  assert.equal(existsSync(cache), false, 'no model was written');
});

test('a second up names the first', async () => {
  const first = await startUp(['--engine=sim', '--workers=1']);
  const { port } = new URL(first.url);
  const { code, stderr } = await runToEnd(['up', '--engine=sim', `--port=${port}`]);
  assert.equal(code, 1);
  assertSentence(stderr, new RegExp(`^stator: Port ${port} is in use by another Stator; .*--port`));
  assert.equal((await fetch(`${first.url}/health`)).status, 200, 'the first serves on');
  assert.equal(await first.stop(), 0);
});

test('kill -9 of up leaves no process', async () => {
  const stack = await startUp(['--engine=sim', '--workers=3']);
  const pids = [...(await stack.cards()).values()].map(({ pid }) => pid);
  assert.equal(pids.filter(isAlive).length, 3);
  stack.child.kill('SIGKILL');
  await stack.ended;
  await until('its workers are gone', () => !pids.some(isAlive), 2_000);
});

test('kill -9 of up in mid-start leaves no process', async () => {
  const stack = new Stack(['up', '--port=0', '--memory=1GB']);
  const workers = () => leftovers().filter((pid) => pid !== stack.pid);
  await until('workers are starting', () => workers().length === 2);
  stack.child.kill('SIGKILL');
  await stack.ended;
  await until('they are gone', () => leftovers().length === 0, 2_000);
});

test('damaged model files are each refused in one sentence', async () => {
  const good = readFileSync(await demoModel());
  const flipped = (at: number) => {
    const bytes = Buffer.from(good);
    bytes[at] ^= 0xff;
    return bytes;
  };
  const damaged: Record<string, { content: Uint8Array | string; says: RegExp }> = {
    'empty.gguf': { content: '', says: /is empty/ },
    'text.gguf': { content: 'This is a letter.\n', says: /is not a GGUF model file/ },
    'magic.gguf': { content: flipped(0), says: /is not a GGUF model file/ },
    'version.gguf': { content: flipped(5), says: /version/ },
    'tensor-count.gguf': { content: flipped(14), says: /is damaged/ },
    'value-count.gguf': { content: flipped(22), says: /is damaged/ },
    'first-key.gguf': { content: flipped(28), says: /is damaged/ },
    'header-only.gguf': { content: good.subarray(0, 24), says: /is cut short|is damaged/ },
    'half-words.gguf': { content: good.subarray(0, 100_000), says: /is cut short|is damaged/ },
    'half-weights.gguf': { content: good.subarray(0, good.length - 4096), says: /is cut short/ },
  };
  const results = Object.entries(damaged).map(async ([name, { content, says }]) => {
    const path = write(name, content);
    const { code, stdout, stderr } = await runToEnd(['up', '--port=0', `--model=${path}`]);
    assert.equal(code, 1, `${name}: ${stderr}`);
    assertSentence(stderr, says);
    assert.ok(stderr.includes(path), `it names the file: ${stderr}`);
    assert.doesNotMatch(stdout, /gateway/);
  });
  await Promise.all(results);
  assert.deepEqual(leftovers(), []);
});

test('a model that is not there, or is a folder, is refused with what there is', async () => {
  const folder = join(FOLDER, 'model.gguf');
  mkdirSync(folder);
  for (const model of [join(FOLDER, 'missing.gguf'), folder, 'no-such-name']) {
    const { code, stderr } = await runToEnd(['up', '--port=0', `--model=${model}`]);
    assert.equal(code, 1, stderr);
    assertSentence(stderr, /one of demo, qwen3-0\.6b/);
    assert.ok(stderr.includes(model));
  }
  assert.deepEqual(leftovers(), []);
});

test('a cache folder that cannot be written is named', async () => {
  const file = write('a-file', 'not a folder');
  const { code, stderr } = await runToEnd(['up', '--port=0'], {
    STATOR_CACHE: join(file, 'cache'),
  });
  assert.equal(code, 1, stderr);
  assertSentence(stderr, /STATOR_CACHE/);
});

test('another address than this machine needs a key', async () => {
  const { code, stderr } = await runToEnd(['up', '--port=0', '--host=0.0.0.0']);
  assert.equal(code, 2);
  assertSentence(stderr, /0\.0\.0\.0 .*needs a key/);
});

const WRONG_FLAGS: Record<string, { args: string[]; says: RegExp }> = {
  'an unknown policy': { args: ['--policy=best'], says: /no policy 'best'; .*stator, .*random/ },
  'an unknown engine': { args: ['--engine=vllm'], says: /--engine .*llama or sim/ },
  'a port out of range': { args: ['--port=70000'], says: /--port .*0 to 65535/ },
  'no workers': { args: ['--workers=0'], says: /--workers .*1 or more/ },
  'half a worker': { args: ['--workers=1.5'], says: /--workers .*1 or more/ },
  'a memory that is no size': { args: ['--memory=lots'], says: /--memory .*2GB/ },
  'an unknown flag': { args: ['--fast'], says: /unknown option '--fast'/ },
  'a configuration that is not there': {
    args: ['-c', 'missing.yaml'],
    says: /^stator: The configuration missing\.yaml does not exist; check the path\.\n$/,
  },
};

for (const [what, { args, says }] of Object.entries(WRONG_FLAGS)) {
  test(`${what} is wrong use`, async () => {
    const { code, stdout, stderr } = await runToEnd(['up', ...args]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /\n {4}at /, 'no stack trace');
    assert.equal(stdout, '');
  });
}

test('each mistake of a configuration is named with its place', async () => {
  const config = write('wrong.yaml', 'listen: {port: high}\nfast: true\nkeys: [{key: abc}]\n');
  const { code, stderr } = await runToEnd(['up', '-c', config]);
  assert.equal(code, 2);
  assertSentence(stderr, /listen\.port.*keys\.0\.key.*fast|fast.*listen\.port/);
  const { code: yaml, stderr: said } = await runToEnd(['up', '-c', write('no.yaml', 'a: [b')]);
  assert.equal(yaml, 2);
  assertSentence(said, /no\.yaml cannot be read/);
});

test('a script that is none is refused in one sentence', async () => {
  const script = write('none.json', '{"rules": [{"text": 7}]}');
  const { code, stderr } = await runToEnd(['up', '--port=0', '--engine=sim', `--script=${script}`]);
  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /\n.* {4}at /, 'no stack trace');
  assert.match(stderr, /none\.json is wrong: rules\.0\.text/);
  assert.deepEqual(leftovers(), []);
});

test('a model that needs more memory than was given is refused in one sentence', async () => {
  for (const args of [
    ['up', '--port=0', '--memory=50MB'],
    ['worker', `--model=${await demoModel()}`, '--memory=50MB'],
  ]) {
    const { code, stderr } = await runToEnd(args);
    assert.equal(code, 1);
    assert.doesNotMatch(stderr, /\n.* {4}at /, `no stack trace: ${stderr}`);
    assert.match(stderr, /^stator: This model needs at least .*; raise --memory.*\.$/m);
  }
  assert.deepEqual(leftovers(), []);
  assert.ok(existsSync(CACHE));
});

function assertSentence(stderr: string, says: RegExp): void {
  assert.match(stderr, says);
  assert.match(stderr, /^stator: [^\n]+\.\n$/, 'one sentence and nothing else');
}
