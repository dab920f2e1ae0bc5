import { checkFormat } from './check-format.test.ts';

const BEGIN = '<|tool_calls_section_begin|>';
const END = '<|tool_calls_section_end|>';
const WEATHER =
  '<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|>';
const ROME = ['call get_weather functions.get_weather:0', '{"city": "Rome"}'];

checkFormat(
  { toolCalls: 'kimi_k2', reasoning: 'kimi_k2' },
  [
    {
      name: 'text and two calls, whose ids the model counts on',
      text: `I look.${BEGIN}${WEATHER}${WEATHER.replace(':0', ':1')}${END}`,
      parts: ['text I look.', ...ROME, ROME[0].replace(':0', ':1'), ROME[1]],
    },
    {
      name: 'reasoning keeps its line breaks',
      text: `<think>\na\n</think>${BEGIN}${WEATHER}${END}`,
      parts: ['reasoning \na\n', ...ROME],
    },
    {
      name: 'reasoning that a call ends',
      text: `<think>a${BEGIN}${WEATHER}${END}`,
      parts: ['reasoning a', ...ROME],
    },
    {
      name: 'blanks about the id, an id without prefix, a name with dots',
      text: `${BEGIN}<|tool_call_begin|> a.b:12 <|tool_call_argument_begin|> {}<|tool_call_end|>${END}`,
      parts: ['call a.b a.b:12', '{}'],
    },
    {
      name: 'no arguments',
      text: `${BEGIN}<|tool_call_begin|>f:0<|tool_call_argument_begin|><|tool_call_end|>${END}`,
      parts: ['call f f:0', '{}'],
    },
    {
      name: 'arguments cut off',
      text: `${BEGIN}${WEATHER.slice(0, -'e"}<|tool_call_end|>'.length)}`,
      parts: [ROME[0], '{"city": "Rom'],
    },
    ...[
      `${BEGIN}${END}`,
      `${BEGIN}<|tool_call_begin|>functions.f:0<|tool_call_end|>`,
      `<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>x`,
    ].map((text) => ({ name: 'a malformed call', text: `a${text}`, parts: [`text a${text}`] })),
  ],
  [
    ...[BEGIN, END, '<|tool_call_begin|>', '<|tool_call_argument_begin|>', '<|tool_call_end|>'],
    ...['functions.', 'f', ':0', '{"a": 1}', '<think>', '</think>', '<|tool_'],
  ],
);
