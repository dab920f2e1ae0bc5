/** The page in a real browser: what it shows while sessions run, and that the console stays silent. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { post } from '../e2e/client.ts';
import { SMALL, startUp, until } from '../e2e/stack.ts';

const FOLDER = ['/usr/bin', '/usr/local/bin', '/snap/bin'];
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const CHROMIUM = FOLDER.flatMap((folder) => NAMES.map((name) => `${folder}/${name}`)).find((path) =>
  existsSync(path),
);

/** What of the browser's driver is used here; its types are not installed with ours. */
interface Driver {
  chromium: {
    launch(options: { executablePath: string; args: string[] }): Promise<{
      newPage(): Promise<BrowserPage>;
      close(): Promise<void>;
    }>;
  };
}

interface BrowserPage {
  on(event: 'console', on: (message: { type(): string; text(): string }) => void): void;
  on(event: 'pageerror', on: (error: Error) => void): void;
  goto(url: string): Promise<unknown>;
  locator(selector: string): { count(): Promise<number> };
  textContent(selector: string): Promise<string | null>;
}

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const SILENT = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
const skip = CHROMIUM === undefined ? 'no Chromium is installed' : false;

test('the page shows workers, slots and what came from cache', { skip }, async () => {
  const stack = await startUp([...SMALL, '--workers=2']);
  const { chromium } = createRequire(import.meta.url)('playwright-core') as Driver;
  const browser = await chromium.launch({
    executablePath: CHROMIUM ?? '',
    args: [...ARGS, ...SILENT],
  });
  after(() => browser.close());
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(stack.url);
  const shows = (selector: string) =>
    until(`the page shows ${selector}`, async () => (await page.locator(selector).count()) > 0);
  await shows('.worker:nth-child(2)');
  assert.match((await page.textContent('#warning')) ?? '', /random/);

  const messages = [{ role: 'user', content: 'Once upon a time '.repeat(80) }];
  const session = { 'x-stator-session-id': 'page' };
  for (let turn = 0; turn < 2; turn++) {
    const body = { model: 'demo', messages, max_tokens: 20 };
    const reply = await post<{ choices: { message: object }[] }>(
      `${stack.url}/v1/chat/completions`,
      body,
      session,
    );
    assert.equal(reply.status, 200);
    messages.push(reply.body.choices[0].message as never, { role: 'user', content: 'And then?' });
  }
  await shows('#chart rect.cached');
  await shows('.slot.holds');
  assert.match((await page.textContent('#figures')) ?? '', /%/);
  await shows('#policies tr.live');
  await shows('#policies tr.shadow:nth-child(4)');
  assert.match((await page.textContent('#policies-actual')) ?? '', /What really came of stator/);
  await shows('.receipt .place.chosen');
  // Nobody goes on from what is asked beside a turn, so that its KV is let go.
  const aside = { model: 'demo', messages, max_tokens: 4 };
  const side = { ...session, 'x-stator-purpose': 'side' };
  assert.equal((await post(`${stack.url}/v1/chat/completions`, aside, side)).status, 200);
  await shows('.receipt .kv-action');
  const action = await page.textContent('.receipt .kv-action');
  assert.match(action ?? '', /^KV: release on worker-[12] · \w+, [\d,.]+ tokens · [\d.]+ \S+$/);
  assert.match((await page.textContent('#workers')) ?? '', /exact.*known from its KV events/);
  assert.deepEqual(complaints, []);
  await stack.stop();
});
