import type { CodingAgent } from '../coding-agent.ts';

export const qwenChat = qwen('Chat', 'openai');
export const qwenMessages = qwen('Messages', 'anthropic');
export const qwenResponses = qwen('Responses', 'openai-responses');

function qwen(wire: string, authType: string): CodingAgent {
  return {
    id: `qwen-${wire.toLowerCase()}`,
    name: `Qwen Code, ${wire}`,
    installation: 'qwen',
    package: '@qwen-code/qwen-code',
    program: (modules) => [process.execPath, `${modules}/@qwen-code/qwen-code/cli-entry.js`],
    arguments: (prompt) => [`--auth-type=${authType}`, '--yolo', '--max-session-turns=20', prompt],
    environment: ({ url, model }) => ({
      ANTHROPIC_API_KEY: 'dummy',
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_MODEL: model,
      OPENAI_API_KEY: 'dummy',
      OPENAI_BASE_URL: `${url}/v1`,
      OPENAI_MODEL: model,
      QWEN_CODE_SUPPRESS_YOLO_WARNING: '1',
    }),
    files: () => ({
      '.qwen/settings.json': JSON.stringify({
        general: { enableAutoUpdate: false, disableAutoUpdate: true },
        privacy: { usageStatisticsEnabled: false },
        telemetry: { enabled: false },
      }),
    }),
    toolbox: {
      run: (command) => ({
        name: 'run_shell_command',
        arguments: { command, description: 'Do a chore', is_background: false },
      }),
      read: (path) => ({ name: 'read_file', arguments: { file_path: path } }),
      write: (path, text) => ({
        name: 'write_file',
        arguments: { file_path: path, content: text },
      }),
      edit: (path, before, after) => ({
        name: 'edit',
        arguments: { file_path: path, old_string: before, new_string: after },
      }),
      delegate: (task) => ({
        name: 'agent',
        arguments: {
          description: 'Run an errand',
          prompt: task,
          subagent_type: 'general-purpose',
          run_in_background: false,
        },
      }),
    },
    sideCalls: [],
  };
}
