import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { isStepCount, jsonSchema, type LanguageModel, streamText, tool } from 'ai';
import { ANSWERS_MAX, type SdkClient, type SdkTask } from './sdk-client.ts';
import { WORKBENCH } from './workbench.ts';

export const aiCompatible: SdkClient = {
  id: 'ai-compatible',
  name: 'ai, openai-compatible',
  package: '@ai-sdk/openai-compatible',
  work: (task) =>
    work(task, createOpenAICompatible({ name: 'stator', ...settings(task) })(task.model)),
};

export const aiChat: SdkClient = {
  id: 'ai-chat',
  name: 'ai, openai.chat',
  package: '@ai-sdk/openai',
  work: (task) => work(task, createOpenAI(settings(task)).chat(task.model)),
};

/** It refers to earlier items by their ids, which the gateway must know. */
export const aiResponses: SdkClient = {
  id: 'ai-responses',
  name: 'ai, openai.responses',
  package: '@ai-sdk/openai',
  work: (task) => work(task, createOpenAI(settings(task)).responses(task.model)),
};

export const aiAnthropic: SdkClient = {
  id: 'ai-anthropic',
  name: 'ai, anthropic',
  package: '@ai-sdk/anthropic',
  work: (task) => work(task, createAnthropic(settings(task))(task.model)),
};

function settings({ url }: SdkTask): { baseURL: string; apiKey: string } {
  return { baseURL: `${url}/v1`, apiKey: 'dummy' };
}

// It warns that it does not know what the model can do, once a request.
Object.assign(globalThis, { AI_SDK_LOG_WARNINGS: false });

async function work({ instructions, prompt }: SdkTask, model: LanguageModel): Promise<string> {
  let failure: unknown;
  const result = streamText({
    model,
    instructions,
    prompt,
    maxRetries: 0,
    stopWhen: isStepCount(ANSWERS_MAX),
    tools: Object.fromEntries(
      WORKBENCH.map(({ name, description, parameters, execute }) => [
        name,
        tool({
          description,
          inputSchema: jsonSchema<Record<string, string>>(parameters),
          execute: (given) => execute(given),
        }),
      ]),
    ),
    // Else what came before it counts as the answer.
    onError: ({ error }) => {
      failure ??= error;
    },
  });
  const text = await result.text;
  if (failure !== undefined) throw failure;
  return text;
}
