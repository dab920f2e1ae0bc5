/** `stator up`: gateway, local workers and page on this machine, until it is told to stop. */
import { bytes, thousands } from '../base/text.ts';
import { isLoopback } from '../gateway/access.ts';
import type { Config } from '../model/config.ts';
import type { WorkerCard } from '../model/worker-card.ts';
import { CATALOGUE } from '../weights/catalogue.ts';
import { Complaint } from './complaint.ts';
import { offerModel } from './offer.ts';
import { type Stack, type StackOptions, startStack } from './stack.ts';
import { VERSION } from './version.ts';

/** `offers`: whether nobody chose a model, so that a better one may be offered. */
export async function up(options: StackOptions, { offers }: { offers: boolean }): Promise<void> {
  refuseOpenHost(options.config);
  let stack = await start(options);
  stopWithUs(() => stack.close());
  restartWithHangup(() => stack);
  const card = (await cardsOf(stack))[0]?.card;
  if (!offers || !stack.model.demo || card === undefined || !(await offerModel(card))) return;
  await stack.close();
  stack = await start(options);
}

async function start(options: StackOptions): Promise<Stack> {
  say(`stator ${VERSION}: starting ${options.workers} workers …`);
  const stack = await startStack(options);
  say(await banner(stack));
  return stack;
}

/** Another address than this machine's own needs a key, or it is not opened. */
export function refuseOpenHost({ listen, keys }: Config): void {
  if (isLoopback(listen.host) || keys.length > 0) return;
  throw new Complaint(
    `Listening on ${listen.host} lets others in, so it needs a key: add keys to a configuration file and pass it with -c, or leave --host out.`,
    2,
  );
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function stopWithUs(close: () => Promise<void>): void {
  let stopping = false;
  const stop = () => {
    if (stopping) process.exit(1);
    stopping = true;
    void close().finally(() => process.exit(0));
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

/** SIGHUP: all workers anew, one after the other, under whatever load there is. */
function restartWithHangup(stack: () => Stack): void {
  process.on('SIGHUP', () => {
    const { rolling } = stack().gateway;
    rolling?.restartAll().then(
      (workers) => say(`started anew: ${workers.join(', ')}`),
      (error: Error) => process.stderr.write(`stator: ${error.message}\n`),
    );
  });
}

async function banner(stack: Stack): Promise<string> {
  const { url, model } = stack;
  const lines = [''];
  if (stack.fallback !== undefined) {
    lines.push(
      `NOTE  ${stack.fallback} Serving with the simulated engine instead: no model computes.`,
    );
  }
  if (model.demo) {
    lines.push(
      'NOTE  This is the demo model: its weights are random, so its text is noise. Speed, KV and reuse are real.',
      `      For a real model, stop this and run: npx stator up --model ${CATALOGUE[0].name}`,
    );
  }
  for (const { id, card } of await cardsOf(stack)) lines.push(workerLine(id, card));
  lines.push(
    '',
    `  gateway      ${url}`,
    `  page         ${url}/`,
    `  model        ${model.name}`,
    '',
    'Point an agent at it:',
    `  Claude Code  ANTHROPIC_BASE_URL=${url} ANTHROPIC_AUTH_TOKEN=local ANTHROPIC_MODEL=${model.name} ANTHROPIC_SMALL_FAST_MODEL=${model.name} claude`,
    `  Codex        codex -c model=${model.name} -c model_provider=stator -c '${codexProvider(url)}'`,
    `  opencode     OPENCODE_CONFIG_CONTENT='${opencodeConfig(url, model.name)}' opencode`,
    `  curl         curl ${url}/v1/chat/completions -H 'content-type: application/json' -H 'x-stator-session-id: me' -d '{"model":"${model.name}","messages":[{"role":"user","content":"Hello"}],"stream":true}'`,
    '',
  );
  return lines.join('\n');
}

/** Over a WebSocket a turn sends what is new, and the first prompt while the user still types. */
function codexProvider(url: string): string {
  const fields = `name="Stator",base_url="${url}/v1",supports_websockets=true`;
  return `model_providers.stator={${fields}}`;
}

async function cardsOf(stack: Stack): Promise<{ id: string; card: WorkerCard }[]> {
  const { workers } = await stack.gateway.state.snapshot();
  return workers.map(({ id, about }) => ({ id, card: about.card as WorkerCard }));
}

function workerLine(id: string, card: WorkerCard): string {
  const { cache, memory, model } = card;
  if (card.engine === 'sim') return `  ${id}     simulated, ${cache.slots} slots`;
  const store =
    cache.selfTest === 'passed'
      ? `store ${bytes(memory.storeBytes)}`
      : 'no block store: its self-test failed, so prompts are computed again';
  const disk = card.disk === null ? 'no disk' : `disk ${bytes(card.disk.bytes)}`;
  return `  ${id}     ${cache.slots} slots × ${thousands(model.contextTokens)} tokens (${bytes(memory.slotsBytes)}), weights ${bytes(memory.weightsBytes)}, ${store}, ${disk}, keeps ${thousands(cache.kvTokens)} tokens`;
}

function opencodeConfig(url: string, model: string): string {
  return JSON.stringify({
    model: `stator/${model}`,
    small_model: `stator/${model}`,
    provider: {
      stator: {
        npm: '@ai-sdk/openai-compatible',
        options: { baseURL: `${url}/v1`, apiKey: 'local' },
        models: { [model]: {} },
      },
    },
  });
}
