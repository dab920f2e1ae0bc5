import type { CodingAgent } from '../coding-agent.ts';

export const cline: CodingAgent = {
  id: 'cline',
  installation: 'cline',
  name: 'Cline',
  package: 'cline',
  program: (modules) => [process.execPath, `${modules}/cline/bin/cline`],
  arguments: (prompt, { model }) => [
    '--json',
    '--provider=openai-compatible',
    `--model=${model}`,
    '--compaction=off',
    prompt,
  ],
  environment: () => ({
    CLINE_NO_AUTO_UPDATE: '1',
    // Without it a daemon is left running.
    CLINE_SESSION_BACKEND_MODE: 'local',
    DISABLE_TELEMETRY: '1',
  }),
  files: ({ url, model }) => ({
    '.cline/data/settings/global-settings.json': JSON.stringify({
      autoUpdateEnabled: false,
      telemetryOptOut: true,
    }),
    '.cline/data/settings/providers.json': JSON.stringify({
      version: 1,
      lastUsedProvider: 'openai-compatible',
      modes: {},
      providers: {
        'openai-compatible': {
          settings: {
            provider: 'openai-compatible',
            apiKey: 'dummy',
            model,
            baseUrl: `${url}/v1`,
          },
          updatedAt: new Date(0).toISOString(),
          tokenSource: 'manual',
        },
      },
    }),
  }),
  toolbox: {
    run: (command) => ({ name: 'run_commands', arguments: { commands: [command] } }),
    read: (path) => ({ name: 'read_files', arguments: { files: [{ path }] } }),
    write: (path, text) => ({ name: 'editor', arguments: { path, new_text: text } }),
    edit: (path, before, after) => ({
      name: 'editor',
      arguments: { path, old_text: before, new_text: after },
    }),
    delegate: (task) => ({
      name: 'spawn_agent',
      arguments: { systemPrompt: 'You run errands in this folder.', task },
    }),
  },
  sideCalls: [],
};
