/** What the simulated workers answer to both vendors' clients: one tool call, then its use. */
import { type Stack, scripted, startUp } from '../e2e/stack.ts';

export const CITY = { city: 'Łódź', days: [1, 2] };
export const QUESTION = 'How is the weather?';
export const RESULT = 'It is sunny and 21 degrees.';
export const FINAL = 'Take no umbrella: it is sunny in Łódź 🌞.';
export const TOOL = {
  name: 'get_weather',
  description: 'The weather of a city.',
  schema: {
    type: 'object' as const,
    properties: { city: { type: 'string' }, days: { type: 'array', items: { type: 'integer' } } },
    required: ['city'],
  },
};

export function startWeather(): Promise<Stack> {
  return startUp(
    scripted([
      { match: 'sunny and 21 degrees', text: FINAL, tokenDelayMs: 1 },
      {
        match: 'the weather\\?',
        text: 'Let me look.',
        toolCalls: [{ name: TOOL.name, arguments: CITY }],
      },
      { match: 'for ever', text: 'and on '.repeat(5000), tokenDelayMs: 20 },
      { match: 'break later', text: 'one two three', fault: { kind: 'error', afterParts: 2 } },
      { match: 'busy once', times: 1, fault: { kind: 'status', status: 503 } },
      { match: 'busy', text: 'Not any more.' },
      { match: 'broken', fault: { kind: 'status', status: 500 } },
    ]),
  );
}
