import Anthropic from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';
import { ANSWERS_MAX, type SdkClient } from './sdk-client.ts';
import { WORKBENCH } from './workbench.ts';

export const anthropic: SdkClient = {
  id: 'anthropic',
  name: '@anthropic-ai/sdk, messages.toolRunner',
  package: '@anthropic-ai/sdk',
  async work({ url, model, instructions, prompt }) {
    const client = new Anthropic({ baseURL: url, apiKey: 'dummy', maxRetries: 0 });
    const message = await client.beta.messages.toolRunner({
      model,
      max_tokens: 2_000,
      max_iterations: ANSWERS_MAX,
      stream: true,
      system: instructions,
      messages: [{ role: 'user', content: prompt }],
      tools: WORKBENCH.map(({ name, description, parameters, execute }) =>
        betaTool({
          name,
          description,
          inputSchema: { ...parameters },
          run: (given) => execute(given as Record<string, string>),
        }),
      ),
    });
    return message.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
  },
};
