import type { CodingAgent } from '../coding-agent.ts';

export const piChat = pi('Chat', { api: 'openai-completions', path: '/v1' });
export const piMessages = pi('Messages', { api: 'anthropic-messages', path: '' });
export const piResponses = pi('Responses', { api: 'openai-responses', path: '/v1' });

/** It has no sub-agents. The newer package, of another name, lacks a dependency in the registry. */
function pi(wire: string, { api, path }: { api: string; path: string }): CodingAgent {
  return {
    id: `pi-${wire.toLowerCase()}`,
    name: `pi, ${wire}`,
    installation: 'pi',
    package: '@mariozechner/pi-coding-agent',
    program: (modules) => [
      process.execPath,
      `${modules}/@mariozechner/pi-coding-agent/dist/cli.js`,
    ],
    arguments: (prompt, { model }) => ['--print', '--provider', 'stator', '--model', model, prompt],
    environment: () => ({ PI_OFFLINE: '1', PI_SKIP_VERSION_CHECK: '1', PI_TELEMETRY: '0' }),
    files: ({ url, model }) => ({
      '.pi/agent/models.json': JSON.stringify({
        providers: {
          stator: {
            baseUrl: `${url}${path}`,
            api,
            apiKey: 'dummy',
            models: [
              {
                id: model,
                name: model,
                reasoning: false,
                input: ['text'],
                contextWindow: 100_000,
                maxTokens: 8_000,
                cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
              },
            ],
          },
        },
      }),
    }),
    toolbox: {
      run: (command) => ({ name: 'bash', arguments: { command } }),
      read: (path) => ({ name: 'read', arguments: { path } }),
      write: (path, text) => ({ name: 'write', arguments: { path, content: text } }),
      edit: (path, before, after) => ({
        name: 'edit',
        arguments: { path, edits: [{ oldText: before, newText: after }] },
      }),
      delegate: undefined,
    },
    sideCalls: [],
  };
}
