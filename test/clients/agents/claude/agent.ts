import type { CodingAgent } from '../coding-agent.ts';
import { PLATFORM } from '../coding-agent.ts';

/** Its package's install script only copies the program of the platform's package to where npm expects it. */
export const claude: CodingAgent = {
  id: 'claude',
  installation: 'claude',
  name: 'Claude Code',
  package: '@anthropic-ai/claude-code',
  program: (modules) => [`${modules}/@anthropic-ai/claude-code-${PLATFORM}/claude`],
  arguments: (prompt) => [
    '--print',
    prompt,
    '--dangerously-skip-permissions',
    '--output-format=json',
    '--max-turns=20',
  ],
  environment: ({ url, model }) => ({
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_AUTH_TOKEN: 'dummy',
    ANTHROPIC_MODEL: model,
    ANTHROPIC_SMALL_FAST_MODEL: model,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_AUTOUPDATER: '1',
    DISABLE_ERROR_REPORTING: '1',
    DISABLE_TELEMETRY: '1',
    // As root it skips permissions only where it is told that this is a sandbox.
    IS_SANDBOX: '1',
  }),
  files: () => ({}),
  toolbox: {
    run: (command) => ({ name: 'Bash', arguments: { command, description: 'Do a chore' } }),
    read: (path) => ({ name: 'Read', arguments: { file_path: path } }),
    write: (path, text) => ({ name: 'Write', arguments: { file_path: path, content: text } }),
    edit: (path, before, after) => ({
      name: 'Edit',
      arguments: { file_path: path, old_string: before, new_string: after },
    }),
    delegate: (task) => ({
      name: 'Agent',
      arguments: {
        description: 'Run an errand',
        prompt: task,
        subagent_type: 'general-purpose',
        // Else the parent goes on, and is told of the end in a request that nobody typed.
        run_in_background: false,
      },
    }),
  },
  sideCalls: [],
};
