/**
 * Clients of all wires that ask again and again for answers that are known, and look at each: whole, once
 * and in time. What is answered depends on the question alone, so whichever worker, or how many of them,
 * gave an answer cannot be seen in it.
 */
import { Prng } from '../../src/base/prng.ts';
import { openStream, post, type Streamed, streamChat, streamMessages } from './client.ts';

const WORDS = 'a the file test error line function value return call build fix read write'.split(
  ' ',
);
const STORIES = 24;
const FIRST_MS = 200;
/** An answer that takes longer is taken as hung. */
const HUNG_MS = 60_000;

/** What workers are told to answer: texts, and calls behind a text. */
export function scriptRules(): object[] {
  return Array.from({ length: STORIES }, (_, i) => {
    const rng = new Prng(i);
    const words = (count: number) => Array.from({ length: count }, () => rng.pick(WORDS)).join(' ');
    const toolCalls =
      i % 4 === 3 ? [{ name: 'write', arguments: { path: words(2), content: words(40) } }] : [];
    const text = words(toolCalls.length > 0 ? 20 : 60 + rng.below(60));
    const pace = { delayMs: FIRST_MS, tokenDelayMs: 10 + rng.below(20) };
    return { match: `story ${i} please`, text, toolCalls, ...pace };
  });
}

/** An answer as far as it must be the same each time. */
interface Answer {
  text: string;
  calls: { name: string; arguments: string }[];
  finish: string | undefined;
  outputTokens: number | undefined;
}

export interface Tally {
  answers: number;
  failed: string[];
  hung: string[];
  different: string[];
  /** To the first text of streams, ascending. */
  ttftMs: number[];
}

const TOOL = { name: 'write', parameters: { type: 'object' } };

type Asks = (url: string, story: number, onText: () => void) => Promise<Answer>;

const WIRES: Record<string, Asks> = {
  async chat(url, story, onText) {
    const tools = [{ type: 'function', function: TOOL }];
    return ofStream(await streamChat(url, { messages: asked(story), tools }, { onText }));
  },
  async messages(url, story, onText) {
    const tools = [{ name: TOOL.name, input_schema: TOOL.parameters }];
    return ofStream(await streamMessages(url, { messages: asked(story), tools }, { onText }));
  },
  async whole(url, story) {
    const tools = [{ type: 'function', function: TOOL }];
    const body = { model: 'demo', messages: asked(story), tools };
    const reply = await post<WholeChat>(`${url}/v1/chat/completions`, body);
    if (reply.status !== 200) throw new Error(`answered ${reply.status}: ${reply.text}`);
    const { choices, usage } = reply.body;
    const { content, tool_calls = [] } = choices[0].message;
    const calls = tool_calls.map((call) => call.function);
    const { completion_tokens: outputTokens } = usage;
    return { text: content ?? '', calls, finish: choices[0].finish_reason, outputTokens };
  },
  async responses(url, story, onText) {
    const tools = [{ type: 'function', ...TOOL }];
    const body = { model: 'demo', stream: true, store: false, input: asked(story), tools };
    const stream = await openStream(`${url}/v1/responses`, body);
    if (stream.status !== 200) throw new Error(`answered ${stream.status}`);
    let deltas = '';
    for await (const { data } of stream.events) {
      const event = JSON.parse(data) as ResponseEvent;
      if (event.type === 'response.output_text.delta') {
        onText();
        deltas += event.delta;
      }
      if (event.type !== 'response.completed') continue;
      const { output, status, usage } = event.response;
      const calls = output.filter((item) => item.type === 'function_call');
      const told = calls.map((call) => ({
        name: call.name ?? '',
        arguments: call.arguments ?? '',
      }));
      return { text: deltas, calls: told, finish: status, outputTokens: usage.output_tokens };
    }
    throw new Error('the stream ended without a whole response');
  },
};

interface WholeChat {
  choices: {
    message: { content: string | null; tool_calls?: { function: Answer['calls'][number] }[] };
    finish_reason: string;
  }[];
  usage: { completion_tokens: number };
}

interface ResponseEvent {
  type: string;
  delta: string;
  response: {
    output: { type: string; name?: string; arguments?: string }[];
    status: string;
    usage: { output_tokens: number };
  };
}

/** Each story once over each wire, while nothing goes wrong. */
export async function expectations(url: string): Promise<Map<string, Answer>> {
  const expected = new Map<string, Answer>();
  const ask = async (wire: string, story: number) => {
    expected.set(`${wire} ${story}`, await WIRES[wire](url, story, () => {}));
  };
  for (const wire of Object.keys(WIRES)) {
    await Promise.all(Array.from({ length: STORIES }, (_, story) => ask(wire, story)));
  }
  return expected;
}

/** So many clients at once until told otherwise; resolves when the last of their answers is there. */
export async function load(
  url: string,
  given: { clients: number; expected: ReadonlyMap<string, Answer>; until: () => boolean },
): Promise<Tally> {
  const tally: Tally = { answers: 0, failed: [], hung: [], different: [], ttftMs: [] };
  const client = async (rng: Prng) => {
    while (!given.until()) {
      const wire = rng.pick(Object.keys(WIRES));
      const story = rng.below(STORIES);
      await one(url, { wire, story, expected: given.expected.get(`${wire} ${story}`) }, tally);
    }
  };
  const rng = new Prng(1);
  await Promise.all(Array.from({ length: given.clients }, (_, i) => client(rng.fork(`${i}`))));
  tally.ttftMs.sort((a, b) => a - b);
  return tally;
}

async function one(
  url: string,
  { wire, story, expected }: { wire: string; story: number; expected: Answer | undefined },
  tally: Tally,
): Promise<void> {
  const begunMs = performance.now();
  const name = `${wire} ${story}`;
  let hasText = false;
  const onText = () => {
    if (!hasText) tally.ttftMs.push(performance.now() - begunMs);
    hasText = true;
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'hung'>((resolve) => {
    timer = setTimeout(() => resolve('hung'), HUNG_MS);
  });
  try {
    const answer = await Promise.race([WIRES[wire](url, story, onText), late]);
    tally.answers++;
    if (answer === 'hung') tally.hung.push(name);
    else if (JSON.stringify(answer) !== JSON.stringify(expected)) {
      tally.different.push(`${name}: ${JSON.stringify(answer)}, not ${JSON.stringify(expected)}`);
    }
  } catch (error) {
    tally.failed.push(`${name}: ${(error as Error).message}`);
  } finally {
    clearTimeout(timer);
  }
}

function ofStream(streamed: Streamed): Answer {
  const { status, errors, broken, finish, text, toolCalls, outputTokens } = streamed;
  if (status !== 200) throw new Error(`answered ${status}`);
  if (errors.length > 0) throw new Error(errors[0].message);
  if (broken || finish === undefined) throw new Error('the stream broke off');
  const calls = toolCalls.map((call) => ({ name: call.name, arguments: call.arguments }));
  return { text, calls, finish, outputTokens };
}

function asked(story: number): object[] {
  return [{ role: 'user', content: `Tell me story ${story} please` }];
}

export function quantile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]);
}
