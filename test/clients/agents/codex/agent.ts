import type { CodingAgent } from '../coding-agent.ts';

export const codexHttp = codex('HTTP');
export const codexSocket = codex('WebSocket');

function codex(way: 'HTTP' | 'WebSocket'): CodingAgent {
  return {
    id: `codex-${way.toLowerCase()}`,
    name: `Codex, ${way}`,
    installation: 'codex',
    package: '@openai/codex',
    program: (modules) => [process.execPath, `${modules}/@openai/codex/bin/codex.js`],
    arguments: (prompt) => [
      'exec',
      '--skip-git-repo-check',
      '--dangerously-bypass-approvals-and-sandbox',
      '--json',
      prompt,
    ],
    environment: ({ home }) => ({ CODEX_HOME: `${home}/.codex`, STATOR_DUMMY_KEY: 'dummy' }),
    files: ({ url, model }) => ({
      '.codex/config.toml': `
model = "${model}"
model_provider = "stator"
check_for_update_on_startup = false

[analytics]
enabled = false

[feedback]
enabled = false

[otel]
exporter = "none"

[model_providers.stator]
name = "Stator"
base_url = "${url}/v1"
env_key = "STATOR_DUMMY_KEY"
wire_api = "responses"
supports_websockets = ${way === 'WebSocket'}
`,
    }),
    toolbox: {
      run,
      read: (path) => run(`cat ${path}`),
      write: (path, text) => run(`cat > ${path} <<'END'\n${text}END`),
      edit: (path, before, after) => run(`sed -i 's/${before}/${after}/' ${path}`),
      delegate: (task) => ({ name: 'spawn_agent', arguments: { message: task } }),
    },
    warmUps: way === 'WebSocket' ? 1 : 0,
    sideCalls: [],
  };
}

/** It has one tool for all of this. */
function run(cmd: string) {
  return { name: 'exec_command', arguments: { cmd } };
}
