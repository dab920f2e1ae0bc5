import { Agent, OpenAIProvider, Runner, tool } from '@openai/agents';
import OpenAI from 'openai';
import { ANSWERS_MAX, type SdkClient, type SdkTask } from './sdk-client.ts';
import { WORKBENCH } from './workbench.ts';

export const agentsChat: SdkClient = {
  id: 'agents-chat',
  name: '@openai/agents, chat',
  package: '@openai/agents',
  delegate,
  work: (task) => work(task, { useResponses: false }),
};

export const agentsResponses: SdkClient = {
  id: 'agents-responses',
  name: '@openai/agents, responses',
  package: '@openai/agents',
  delegate,
  work: (task) => work(task, { useResponses: true }),
};

function delegate(task: string) {
  return { name: 'errand', arguments: { input: task } };
}

async function work(
  { url, model, instructions, prompt }: SdkTask,
  { useResponses }: { useResponses: boolean },
): Promise<string> {
  const openAIClient = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'dummy', maxRetries: 0 });
  const runner = new Runner({
    modelProvider: new OpenAIProvider({ openAIClient, useResponses }),
    tracingDisabled: true,
  });
  const tools = WORKBENCH.map(({ name, description, parameters, execute }) =>
    tool({
      name,
      description,
      parameters,
      strict: true,
      execute: (given) => execute(given as Record<string, string>),
    }),
  );
  const errand = new Agent({ name: 'Errand', model, instructions: 'You run errands.', tools });
  const agent = new Agent({
    name: 'Chores',
    model,
    instructions,
    tools: [
      ...tools,
      errand.asTool({
        toolName: 'errand',
        toolDescription: 'Has an errand run.',
        runConfig: { modelProvider: runner.config.modelProvider, tracingDisabled: true },
      }),
    ],
  });
  const result = await runner.run(agent, prompt, { maxTurns: ANSWERS_MAX, stream: true });
  await result.completed;
  return String(result.finalOutput);
}
