import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainJob } from '../../test/plain-job.ts';
import { vllmRequest } from '../engines/vllm-request.ts';
import { anthropicMessages } from './anthropic-messages.ts';
import { kvHints } from './kv-hints.ts';

const DIALECT = { model: 'm', takesPriority: false, hasStructuredOutputs: true };

test('a wish to keep KV becomes an action of the envelope, in whole seconds and never fewer', () => {
  const { hints } = anthropicMessages.parse({
    ...{ model: 'm', max_tokens: 9 },
    messages: [{ role: 'user', content: 'hi' }],
    cache_control: { type: 'ephemeral', ttl: '1h' },
  });
  const us = hints.retentionUs ?? assert.fail('a ttl is a wish');
  const envelope = kvHints({ id: 'r1', thread: 's/a' }, { kind: 'retain', us: us + 1 });
  assert.deepEqual(envelope, {
    protocol_version: '0.1',
    message_id: 'r1',
    actions: [
      {
        action_id: 'r1-retain',
        action_type: 'kv.retain',
        action_version: '1.0',
        payload: { session_id: 's/a', ttl_seconds: 3601 },
      },
    ],
  });
});

test('a vLLM that says it takes hints is sent them, and no other is', () => {
  const outlook = { kind: 'release' as const };
  const sent = (takesKvHints: boolean, job: object) => {
    const chat = { model: 'm', messages: [], tools: [], toolChoice: { kind: 'auto' as const } };
    const prompt = { kind: 'chat' as const, chat: { ...chat, thinking: undefined } };
    const whole = plainJob({ model: 'm', prompt, ...job });
    const { body } = vllmRequest(whole, { ...DIALECT, takesKvHints });
    return (body as { kv_hints?: { actions: { action_type: string }[] } }).kv_hints;
  };
  assert.equal(sent(true, { thread: 't', outlook })?.actions[0].action_type, 'kv.release');
  assert.equal(sent(false, { thread: 't', outlook }), undefined);
  assert.equal(sent(true, { thread: 't' }), undefined, 'what is as any is not told');
  assert.equal(sent(true, { outlook }), undefined, 'nobody’s KV has no name');
});
