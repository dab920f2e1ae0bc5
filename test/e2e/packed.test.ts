/** The packed tarball, installed without dev dependencies in an empty folder, starts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { streamChat } from './client.ts';
import { FOLDER, Stack, until } from './stack.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '..', '..');
const INSTALL_MS_MAX = 180_000;

test('npm pack, npm install in an empty folder, npx stator up', async (t) => {
  const home = join(FOLDER, 'home');
  mkdirSync(home);
  // The tree was built before the tests ran: building again would pull it from under the others.
  await run('npm', ['pack', '--ignore-scripts', `--pack-destination=${FOLDER}`], { cwd: ROOT });
  const tarball = readdirSync(FOLDER).find((name) => name.endsWith('.tgz'));
  assert.ok(tarball !== undefined, 'npm pack writes a tarball');
  writeFileSync(join(home, 'package.json'), '{"private": true}');
  if (!(await installed(t, home, join(FOLDER, tarball)))) return;
  const found = readdirSync(join(home, 'node_modules'));
  assert.ok(found.includes('stator') && !found.includes('typescript'));
  const bin = join(home, 'node_modules', 'stator', 'dist', 'main.js');
  const npx = await run('npx', ['--no-install', 'stator', '--version'], { cwd: home });
  assert.match(npx.stdout, /^\d+\.\d+\.\d+\n$/);
  const stack = new Stack(['up', '--engine=sim', '--port=0'], {}, bin);
  await until('it serves', () => {
    stack.url = /gateway +(http\S+)/.exec(stack.stdout)?.[1] ?? '';
    if (stack.hasEnded) assert.fail(stack.stderr);
    return stack.url !== '';
  });
  assert.equal((await fetch(`${stack.url}/health`)).status, 200);
  assert.equal((await fetch(`${stack.url}/`)).status, 200, 'the page is packed');
  const answer = await streamChat(stack.url, { messages: [{ role: 'user', content: 'Hello' }] });
  assert.notEqual(answer.text, '');
  assert.equal(await stack.stop(), 0);
});

/** Only where no registry answers, the test is skipped: whatever else fails is a fault of ours. */
async function installed(t: TestContext, home: string, tarball: string): Promise<boolean> {
  const flags = ['--omit=dev', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=1'];
  try {
    await run('npm', ['install', ...flags, tarball], { cwd: home, timeout: INSTALL_MS_MAX });
    return true;
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? error);
    const code = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT|ENOTCACHED)\b/.exec(
      said,
    );
    if (code === null) throw error;
    t.skip(`the package registry cannot be reached (${code[1]})`);
    return false;
  }
}
