/**
 * The demo model's chat template: ChatML with tools as Qwen models know them.
 *
 * A conversation only ever grows at its end: what is rendered for n messages with the generation
 * prompt is a prefix of what is rendered once the answer and more messages follow. So nothing is
 * trimmed, reasoning stays in the history, and tools stand in the first system turn.
 */
export const DEMO_TEMPLATE = `
{%- if tools %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages and messages[0].role == 'system' %}
    {{- messages[0].content + '\\n\\n' }}
  {%- endif %}
  {{- '# Tools\\n\\nThese functions can be called, one JSON schema a line:\\n<tools>' }}
  {%- for tool in tools %}
    {{- '\\n' + (tool | tojson) }}
  {%- endfor %}
  {{- '\\n</tools>\\n\\nTo call one, write its name and its arguments as JSON:\\n' }}
  {{- '<tool_call>\\n{"name": "…", "arguments": {…}}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'system' and loop.first and tools %}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if message.reasoning_content %}
      {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
    {%- endif %}
    {%- if message.content %}
      {{- message.content }}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
      {%- if message.content or not loop.first %}
        {{- '\\n' }}
      {%- endif %}
      {%- if call.function %}
        {%- set call = call.function %}
      {%- endif %}
      {{- '<tool_call>\\n{"name": ' + (call.name | tojson) + ', "arguments": ' }}
      {%- if call.arguments is string %}
        {{- call.arguments }}
      {%- else %}
        {{- call.arguments | tojson }}
      {%- endif %}
      {{- '}\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- elif message.role == 'tool' %}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
      {{- '<|im_start|>user' }}
    {%- endif %}
    {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
      {{- '<|im_end|>\\n' }}
    {%- endif %}
  {%- else %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
{%- endif %}`;
