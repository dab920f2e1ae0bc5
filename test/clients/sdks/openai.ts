import OpenAI from 'openai';
import { ANSWERS_MAX, type SdkClient, type SdkTask } from './sdk-client.ts';
import { execute, WORKBENCH } from './workbench.ts';

type Input = OpenAI.Responses.ResponseInputItem;

export const openaiChat: SdkClient = {
  id: 'openai-chat',
  name: 'openai, chat.completions.runTools',
  package: 'openai',
  async work({ url, model, instructions, prompt }) {
    const runner = clientOf(url).chat.completions.runTools(
      {
        model,
        stream: true,
        messages: [
          { role: 'system', content: instructions },
          { role: 'user', content: prompt },
        ],
        tools: WORKBENCH.map(({ name, description, parameters, execute: run }) => ({
          type: 'function',
          function: {
            name,
            description,
            parameters: { ...parameters },
            parse: JSON.parse as (json: string) => Record<string, string>,
            function: (given: Record<string, string>) => run(given),
          },
        })),
      },
      { maxChatCompletions: ANSWERS_MAX },
    );
    return (await runner.finalContent()) ?? '';
  },
};

/** Sends the whole conversation each time, with what came back as it came. */
export const openaiResponses: SdkClient = {
  id: 'openai-responses',
  name: 'openai, responses.stream',
  package: 'openai',
  async work(task) {
    const input: Input[] = [{ role: 'user', content: task.prompt }];
    for (let i = 0; i < ANSWERS_MAX; i++) {
      const answer = await respond(task, { input, store: false });
      const results = resultsOf(answer);
      if (results.length === 0) return answer.output_text;
      input.push(...(answer.output as Input[]), ...results);
    }
    return '';
  },
};

/** Sends only what is new: the gateway remembers the rest. */
export const openaiStored: SdkClient = {
  id: 'openai-stored',
  name: 'openai, previous_response_id',
  package: 'openai',
  async work(task) {
    let input: Input[] = [{ role: 'user', content: task.prompt }];
    let previous: string | undefined;
    for (let i = 0; i < ANSWERS_MAX; i++) {
      const answer = await respond(task, { input, store: true, previous_response_id: previous });
      input = resultsOf(answer);
      previous = answer.id;
      if (input.length === 0) return answer.output_text;
    }
    return '';
  },
};

async function respond(
  { url, model, instructions }: SdkTask,
  sent: Pick<OpenAI.Responses.ResponseCreateParams, 'input' | 'store' | 'previous_response_id'>,
): Promise<OpenAI.Responses.Response> {
  return await clientOf(url)
    .responses.stream({
      model,
      instructions,
      tools: WORKBENCH.map(({ name, description, parameters }) => ({
        type: 'function' as const,
        name,
        description,
        parameters: { ...parameters },
        strict: true,
      })),
      ...sent,
    })
    .finalResponse();
}

function resultsOf({ output }: OpenAI.Responses.Response): Input[] {
  return output.flatMap((item) =>
    item.type === 'function_call'
      ? [
          {
            type: 'function_call_output' as const,
            call_id: item.call_id,
            output: execute(item.name, JSON.parse(item.arguments) as Record<string, string>),
          },
        ]
      : [],
  );
}

function clientOf(url: string): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'dummy', maxRetries: 0 });
}
