import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Config } from '../model/config.ts';
import { type ErrorCode, GatewayError } from '../model/error.ts';
import { Patience, statusFor } from './patience.ts';

/** As recorded of real clients, and how long each waited for headers. */
const AGENTS = {
  claude: 'claude-cli/2.1.330 (external, sdk-cli)',
  codex: 'codex_exec/0.169.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.169.0)',
  codexUi: 'codex-tui/0.169.0 (Debian 12.0.0; x86_64) xterm-256color (codex-tui; 0.169.0)',
  opencode: 'opencode/1.18.33 ai-sdk/provider-utils/4.0.23 runtime/bun/1.3.14',
  qwen: 'QwenCode/0.24.4 (linux; x64)',
  cline: 'ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/5.0.30 runtime/bun/1.3.13',
  aiSdk: 'ai-sdk-openai/4.0.118 ai-sdk-provider-utils/5.0.81 node.js/22',
  openai: 'OpenAI/JS 6.26.0',
  anthropic: 'Anthropic/JS 1.12.0',
  langchain: 'langchainjs-openai/1.5.8 (node/22)',
  unknown: 'curl/8.0',
} as const;

type Name = keyof typeof AGENTS;

const { limits } = Config.parse({});
const patience = new Patience(limits);
const from = (name: Name, more: Record<string, string> = {}) => ({
  'user-agent': AGENTS[name],
  ...more,
});

test('a stream waits as long as its client was measured to, and never longer than anybody may', () => {
  const waits = (name: Name, stream: boolean) => patience.of(from(name), stream).patienceUs / 1e6;
  const streams: Record<string, number> = { qwen: 120, cline: 297, unknown: 100 };
  for (const name of Object.keys(AGENTS) as Name[]) {
    assert.equal(waits(name, true), streams[name] ?? 300, name);
    assert.equal(waits(name, false), 100, `${name} is told nothing meanwhile`);
  }
  const eternal = new Patience({ ...limits, streamQueueUsMax: 1e12, queueUsMax: 1e12 });
  assert.equal(eternal.of(from('claude'), true).patienceUs, 356e6);
  assert.equal(eternal.of(from('qwen'), false).patienceUs, 120e6);
});

test('an SDK that says when it gives up is believed, and hears something in half that time', () => {
  const hasty = patience.of(from('openai', { 'x-stainless-timeout': '20' }), true);
  assert.deepEqual([hasty.patienceUs, hasty.holdUs], [20e6, 10e6]);
  const calm = patience.of(from('claude', { 'x-stainless-timeout': '600' }), true);
  assert.deepEqual([calm.patienceUs, calm.holdUs], [300e6, 15e6]);
  for (const nonsense of ['', '0', '-5', 'NaN', 'x', '1e999', '0.2']) {
    const { patienceUs } = patience.of(from('openai', { 'x-stainless-timeout': nonsense }), true);
    assert.equal(patienceUs, 300e6, nonsense);
  }
});

test('busy engines are said with the status after which the client comes back', () => {
  const busy = new GatewayError('queue_full', '');
  for (const name of Object.keys(AGENTS) as Name[]) {
    assert.equal(statusFor(busy, from(name), 'anthropic-messages'), 529, name);
    const expected = name === 'langchain' ? 429 : 503;
    assert.equal(statusFor(busy, from(name), 'openai-chat'), expected, name);
  }
  const others: ErrorCode[] = ['invalid_request', 'unauthorized', 'engine_lost', 'request_timeout'];
  for (const code of others) {
    const error = new GatewayError(code, '');
    assert.equal(statusFor(error, from('langchain'), 'anthropic-messages'), error.status);
  }
});

test('a failed stream is cut only where its client takes an error for the end of the turn', () => {
  const cut = Object.keys(AGENTS).filter(
    (name) => patience.of(from(name as Name), true).lastWord === 'cut',
  );
  assert.deepEqual(cut, ['cline']);
});
