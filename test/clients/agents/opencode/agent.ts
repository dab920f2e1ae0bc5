import type { CodingAgent } from '../coding-agent.ts';
import { PLATFORM } from '../coding-agent.ts';

export const opencodeChat = opencode('Chat', '@ai-sdk/openai-compatible');
export const opencodeMessages = opencode('Messages', '@ai-sdk/anthropic');
export const opencodeResponses = opencode('Responses', '@ai-sdk/openai');

/**
 * Its package's install script only copies the program of the platform's package to where npm expects
 * it. `npm`: what it speaks that wire with; it brings it along.
 */
function opencode(wire: string, npm: string): CodingAgent {
  return {
    id: `opencode-${wire.toLowerCase()}`,
    name: `opencode, ${wire}`,
    installation: 'opencode',
    package: 'opencode-ai',
    program: (modules) => [`${modules}/opencode-${PLATFORM}/bin/opencode`],
    arguments: (prompt) => ['run', '--format=json', prompt],
    environment: ({ url, model }) => ({
      DO_NOT_TRACK: '1',
      OPENCODE_DISABLE_AUTOUPDATE: '1',
      OPENCODE_DISABLE_DEFAULT_PLUGINS: '1',
      OPENCODE_DISABLE_LSP_DOWNLOAD: '1',
      OPENCODE_DISABLE_MODELS_FETCH: '1',
      OPENCODE_CONFIG_CONTENT: JSON.stringify({
        autoupdate: false,
        share: 'disabled',
        permission: 'allow',
        model: `stator/${model}`,
        small_model: `stator/${model}`,
        provider: {
          stator: {
            npm,
            options: { baseURL: `${url}/v1`, apiKey: 'dummy' },
            models: { [model]: {} },
          },
        },
      }),
    }),
    files: () => ({}),
    toolbox: {
      run: (command) => ({ name: 'bash', arguments: { command, description: 'Do a chore' } }),
      read: (path) => ({ name: 'read', arguments: { filePath: path } }),
      write: (path, text) => ({ name: 'write', arguments: { filePath: path, content: text } }),
      edit: (path, before, after) => ({
        name: 'edit',
        arguments: { filePath: path, oldString: before, newString: after },
      }),
      delegate: (task) => ({
        name: 'task',
        arguments: { description: 'Run an errand', prompt: task, subagent_type: 'general' },
      }),
    },
    sideCalls: [{ match: 'Generate a title', text: 'Chores in a folder' }],
  };
}
