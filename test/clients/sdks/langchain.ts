import {
  type AIMessageChunk,
  type BaseMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
} from '@langchain/core/messages';
import { ChatOpenAI } from '@langchain/openai';
import { ANSWERS_MAX, type SdkClient, type SdkTask } from './sdk-client.ts';
import { execute, WORKBENCH } from './workbench.ts';

export const langchainChat: SdkClient = {
  id: 'langchain-chat',
  name: '@langchain/openai, chat',
  package: '@langchain/openai',
  work: (task) => work(task, { useResponsesApi: false }),
};

export const langchainResponses: SdkClient = {
  id: 'langchain-responses',
  name: '@langchain/openai, responses',
  package: '@langchain/openai',
  work: (task) => work(task, { useResponsesApi: true }),
};

async function work(
  { url, model, instructions, prompt }: SdkTask,
  { useResponsesApi }: { useResponsesApi: boolean },
): Promise<string> {
  const chat = new ChatOpenAI({
    model,
    apiKey: 'dummy',
    maxRetries: 0,
    useResponsesApi,
    configuration: { baseURL: `${url}/v1` },
  }).bindTools(
    WORKBENCH.map(({ name, description, parameters }) => ({
      type: 'function',
      function: { name, description, parameters },
    })),
  );
  const messages: BaseMessage[] = [new SystemMessage(instructions), new HumanMessage(prompt)];
  for (let i = 0; i < ANSWERS_MAX; i++) {
    // Not `invoke`: what that streams is counted with a table from the net.
    let answer: AIMessageChunk | undefined;
    for await (const chunk of await chat.stream(messages)) answer = answer?.concat(chunk) ?? chunk;
    if (answer === undefined) return '';
    messages.push(answer);
    const calls = answer.tool_calls ?? [];
    if (calls.length === 0) return answer.text;
    for (const { id, name, args } of calls) {
      const content = execute(name, args as Record<string, string>);
      messages.push(new ToolMessage({ tool_call_id: id ?? '', content }));
    }
  }
  return '';
}
