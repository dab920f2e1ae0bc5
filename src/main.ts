#!/usr/bin/env node
/** argv → cli/<verb>. Verbs load what they need when they run. */
import { Command, CommanderError, Option } from 'commander';
import * as arg from './cli/args.ts';
import { Complaint } from './cli/complaint.ts';
import type { StackFlags } from './cli/stack-flags.ts';
import { VERSION } from './cli/version.ts';

const program = new Command('stator')
  .description('An inference stack for coding agents: context computed once is not computed again.')
  .version(VERSION)
  .showHelpAfterError('(--help shows what is possible)')
  .exitOverride();

function stackFlags(command: Command): Command {
  return command
    .option('--workers <n>', 'local workers', arg.count, 2)
    .option(
      '--prefill-workers <n>',
      'of them, so many that compute long prompts for the others',
      arg.tokens,
    )
    .option('--engine <kind>', 'llama (computes) or sim (only takes time)', arg.engine, 'llama')
    .option('--model <path|name>', 'a GGUF file, a name of the catalogue, or demo')
    .option('--memory <size>', 'of all workers together: 2GB, 40%', arg.memory)
    .option('--slots <n>', 'sequences a worker computes at once', arg.count)
    .option('--context <tokens>', 'served context, if the memory allows it', arg.count)
    .option('--kv-tokens <n>', 'most distinct tokens whose KV a worker keeps', arg.count)
    .option(
      '--threads <n>',
      'engine threads a worker; 1, because more spin against each other',
      arg.count,
    )
    .option(
      '--device <name>',
      'cpu, cuda, vulkan, metal, or auto: a GPU whose libraries are installed',
      arg.device,
    )
    .option('--exact', 'make results comparable bit for bit; slower')
    .option('--script <file>', 'scripted answers of the simulated engine');
}

stackFlags(program.command('up').description('gateway, local workers and page on this machine'))
  .option(
    '--disk <size|0>',
    'KV kept in files, of all workers together; 10 GB, or a tenth of what is free',
    arg.disk,
  )
  .option('--disk-folder <path>', 'where those files go')
  .option('--port <n>', 'where to listen', arg.port)
  .option('--host <address>', 'another address than 127.0.0.1; needs a key')
  .option('--policy <name>', 'who decides where a request runs')
  .option('--allow-forced-output', 'let requests dictate the answer, for replays')
  .option('-c, --config <file>', 'stator.yaml: listen, keys, limits, policy')
  .action(async (flags: StackFlags) => {
    const { up } = await import('./cli/up.ts');
    const { stackOptions } = await import('./cli/stack-flags.ts');
    await up(stackOptions(flags), { offers: flags.model === undefined });
  });

program
  .command('serve')
  .description('the gateway in front of engines that somebody else runs')
  .requiredOption(
    '-c, --config <file>',
    'stator.yaml: listen, keys, models, workers, discovery, policy',
  )
  .action(async ({ config }: { config: string }) => {
    const { serveFile } = await import('./cli/serve.ts');
    await serveFile(config);
  });

program
  .command('worker')
  .description('one local worker; prints its card as one JSON line, goes when its parent goes')
  .requiredOption('--model <path>', 'a GGUF file')
  .option('--model-name <name>', 'what clients call it', 'model')
  .option('--engine <kind>', 'llama or sim', arg.engine, 'llama')
  .option('--name <name>', 'of this worker', 'worker')
  .option('--port <n>', 'where to listen on 127.0.0.1; 0 is any free port', arg.port, 0)
  .option('--memory <size>', 'weights, slots and block store together', arg.memory)
  .option('--slots <n>', 'sequences computed at once', arg.count)
  .option('--context <tokens>', 'served context', arg.count)
  .option('--kv-tokens <n>', 'most distinct tokens whose KV is kept', arg.count)
  .option('--disk <size|0>', 'KV kept in files; 10 GB, or a tenth of what is free', arg.disk)
  .option('--disk-folder <path>', 'where; each worker takes a subfolder of its own')
  .option(
    '--threads <n>',
    'engine threads; with 2 and any other load decode fell from 463 to 7 tokens/s',
    arg.count,
  )
  .option('--device <name>', 'cpu, cuda, vulkan, metal, or auto', arg.device)
  .option('--exact', 'make results comparable bit for bit')
  .option('--allow-forced-output', 'let requests dictate the answer')
  .option('--script <file>', 'scripted answers of the simulated engine')
  .option('--events <address>', 'publish KV events there too: nats://host:port/subject')
  .option('--step-log <file>', 'write what each step computed and took, for sim --fit')
  .action(async (flags) => {
    const { runWorker, workerSettings } = await import('./cli/worker.ts');
    await runWorker(workerSettings(flags), flags);
  });

stackFlags(
  program
    .command('compare')
    .description('the same sessions through several policies, or servers, side by side'),
)
  .option('--before <url>', 'a server that runs: what there is today; with --after, no policies')
  .option('--after <url>', 'another one, or the same model behind Stator')
  .option('--before-key <key>', 'its API key')
  .option('--after-key <key>', 'its API key')
  .option('--before-workers <n>', 'engines behind it; else as its Stator says, or 1', arg.count)
  .option('--after-workers <n>', 'engines behind it; else as its Stator says, or 1', arg.count)
  .option('--no-reset', 'do not empty the caches of --before and --after before each run')
  .option('--sessions <folder>', 'recorded agent sessions: messages.jsonl.gz and tools')
  .option('--trace <file>', 'a trace instead: each block becomes the same seeded token ids')
  .option('--format <name>', 'of the trace; else seen')
  .option('--block-tokens <n>', 'where the trace does not say it', arg.count)
  .option(
    '--generate <name>',
    'coding-agents: small sessions of 10 turns, other ones for each seed',
  )
  .option('--think-cap-s <s>', 'longest gap between turns', arg.amount, 10)
  .addOption(
    new Option('--policies <names>', 'with commas; no-reuse computes every prompt in full')
      .argParser(arg.names)
      .default(['no-reuse', 'random', 'round-robin', 'least-requests', 'sticky', 'stator']),
  )
  .option('--max-sessions <n>', 'only the first so many', arg.count)
  .option('--live <n>', 'sessions at once', arg.count, 8)
  .option(
    '--mild-live <n>',
    'sessions at once beside that, a few of them; a quarter of --live, 0: none',
    arg.tokens,
  )
  .option(
    '--seeds <n>',
    'repetitions, each with its own order of sessions and policies',
    arg.count,
    1,
  )
  .option('--seed <n>', 'the first of them', arg.count, 1)
  .addOption(
    new Option('--slo <limits>', 'what goodput asks of a request, milliseconds')
      .argParser(arg.slo)
      .default({ ttftMs: 5000, itlMs: 100 }, 'ttft=5000,itl=100'),
  )
  .option('--price <money>', 'of one worker for an hour', arg.money)
  .option('--page <file>', 'where the page with plots goes', 'stator-compare.html')
  .option('--no-page', 'write none')
  .option('--json', 'print the report as JSON')
  .action(async (flags, command: Command) => {
    const { compare, LIVE_AGENTS } = await import('./cli/compare.ts');
    const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
    const unsaid = Object.entries(flags.generate === undefined ? {} : LIVE_AGENTS);
    await compare({ ...flags, ...Object.fromEntries(unsaid.filter(([name]) => !isGiven(name))) });
  });

program
  .command('replay')
  .description('a trace or recorded conversations against a server that runs, with their timing')
  .argument('[trace]', 'a trace, packed or not')
  .option('--sessions <folder>', 'recorded agent sessions instead: messages.jsonl.gz and tools')
  .option('--generate <name>', 'coding-agents instead: small sessions of 10 turns')
  .option('--format <name>', 'of the trace; else seen')
  .option('--block-tokens <n>', 'where the trace does not say it', arg.count)
  .option('--max-sessions <n>', 'only the first so many', arg.count)
  .option('--url <address>', 'of any server with OpenAI’s API', 'http://127.0.0.1:8000')
  .option('--key <key>', 'its API key')
  .option('--model <name>', 'of the server; else its first')
  .option('--speedup <factor>', 'sessions begin as recorded, so many times faster', arg.positive)
  .option('--live <n>', 'so many sessions at once instead', arg.count)
  .option('--think-cap-s <s>', 'longest gap between calls', arg.amount)
  .option('--seed <n>', 'of made prompts and of the order of sessions', arg.count, 1)
  .addOption(
    new Option('--slo <limits>', 'what goodput asks of a request, milliseconds')
      .argParser(arg.slo)
      .default({ ttftMs: 5000, itlMs: 100 }, 'ttft=5000,itl=100'),
  )
  .option('--price <money>', 'of one worker for an hour', arg.money)
  .option('--page <file>', 'write the page with plots')
  .option('--json', 'print the report as JSON')
  .action(async (trace: string | undefined, flags) => {
    const { replay } = await import('./cli/replay.ts');
    await replay(trace, flags);
  });

program
  .command('sim')
  .description('a workload through policies in virtual time, with the kernel that runs live')
  .option('--trace <file>', 'a trace, packed or not')
  .option('--format <name>', 'of the trace; else seen')
  .option('--generate <name>', 'coding-agents, instead of a trace')
  .option('--sessions <n>', 'to generate', arg.count)
  .option('--shared-prefix <share>', 'of tools and system, where ids are local', arg.share)
  .option('--block-tokens <n>', 'where the trace does not say it', arg.count)
  .option('--workers <n>', 'engines', arg.count, 8)
  .option('--prefill-workers <n>', 'of them, under the policy disaggregated', arg.count)
  .option('--sessions-per-worker <n>', 'alive at once: a closed loop', arg.count, 6)
  .option('--think-cap-s <s>', 'longest gap between turns of the closed loop', arg.amount, 10)
  .option('--max-context <tokens>', 'cut sessions before longer contexts', arg.count, 128_000)
  .option('--speedup <factor>', 'open loop instead: arrivals as recorded, faster', arg.positive)
  .option('--rate <requests/s>', 'open loop instead: arrivals by chance', arg.positive)
  .option('--profile <name|file>', 'how long steps take', 'h100-qwen3-8b')
  .option('--device-tokens <n>', "KV on each worker's device", arg.count, 350_000)
  .option('--host-tokens <n>', "KV in each worker's host memory; 0: none", arg.tokens, 1_050_000)
  .option(
    '--ttl-s <s>',
    'KV unused for so long is lost (default: while there is room)',
    arg.positive,
  )
  .option('--routing-lag-ms <ms>', 'from a decision to the engine', arg.amount, 1)
  .option('--event-lag-ms <ms>', 'from a change of a cache to the kernel', arg.amount, 2)
  .addOption(
    new Option('--slo <limits>', 'what goodput asks of a request, milliseconds')
      .argParser(arg.slo)
      .default({ ttftMs: 5000, itlMs: 100 }, 'ttft=5000,itl=100'),
  )
  .addOption(
    new Option('--policy <names>', 'with commas; also oracle, no-reuse and disaggregated')
      .argParser(arg.names)
      .default(['stator', 'random', 'round-robin', 'least-requests', 'sticky', 'oracle']),
  )
  .option('--seed <n>', 'the first one', arg.count, 1)
  .option('--seeds <n>', 'repetitions, each with other sessions at other turns', arg.count, 1)
  .option('--warmup-s <s>', 'virtual seconds before what is measured', arg.amount, 600)
  .option('--duration-s <s>', 'virtual seconds that are measured', arg.positive, 3600)
  .option(
    '--sweep <axes...>',
    'a grid of fleets: workers=1..8 ttl-s=60,300; also host-tokens, device-tokens, live, rate, speedup',
  )
  .option('--attain <share>', 'of requests within the SLO that --sweep looks for', arg.share, 0.95)
  .option('--fit <file>', 'write a profile: of the embedded engine on this machine, or --from')
  .option('--from <file>', "to fit: a worker's --step-log, or receipts, one a line")
  .option('--validate', 'the same sessions live and simulated: how far the simulator is off')
  .option('--live-workers <list>', 'of --validate', arg.counts, [1, 2, 4])
  .option('--engine <kind>', 'of --validate and --fit: llama or sim', arg.engine, 'llama')
  .option('--model <path|name>', 'of --validate and --fit; whose tokenizer reads messages')
  .option('--price <money>', 'of one worker for an hour', arg.money)
  .option('--page <file>', 'write the page with plots')
  .option('--json', 'print the report as JSON')
  .action(async (flags) => {
    const { sim } = await import('./cli/sim.ts');
    await sim(flags);
  });

program
  .command('doctor')
  .description('is everything as it should be: engines, tokenizers, events, predictions')
  .option('--url <address>', 'of a running gateway', 'http://127.0.0.1:8000')
  .option('--key <key>', 'an admin key, where keys are configured')
  .option('--json', 'print the findings as JSON')
  .action(async (flags) => {
    const { doctor } = await import('./cli/doctor.ts');
    await doctor(flags);
  });

program
  .command('bench <name>')
  .description(
    'figures with their baseline beside them, in one run: engine, tokens, disaggregation',
  )
  .option('--model <path|name>', 'of the engine: a GGUF file, a name of the catalogue, or demo')
  .option('--json', 'print the report as JSON')
  .action(async (name: string, flags: { json?: boolean; model?: string }) => {
    const { bench } = await import('./cli/bench.ts');
    await bench(name, flags);
  });

const trace = program
  .command('trace')
  .description('what a recorded or generated workload is like, and in another format');

function traceSource(command: Command): Command {
  return command
    .argument('[file]', 'a trace, packed or not, or a folder of one document per session')
    .option(
      '--format <name>',
      'recording, agentic, dynamo, weka, messages, mooncake, mooncake-delta, csv; else seen',
    )
    .option('--generate <name>', 'coding-agents, or coding-agents-live, instead of a file')
    .option('--seed <n>', 'of the generator', arg.count, 1)
    .option('--sessions <n>', 'to generate', arg.count)
    .option('--shared-prefix <share>', 'of tools and system, where ids are local', arg.share)
    .option('--block-tokens <n>', 'where the file does not say it', arg.count)
    .option('--model <path|name>', 'whose tokenizer reads the text of messages');
}

trace
  .command('record')
  .description('what comes in to a running gateway: hashes, counts and times, no text')
  .requiredOption('--out <file>', 'a recording that is there goes on')
  .option('--url <address>', 'of the gateway', 'http://127.0.0.1:8000')
  .option('--key <key>', 'an admin key, where keys are configured')
  .option('--for <time>', '90s, 10m, 2h; else until it is interrupted', arg.duration)
  .option('--text', 'prompts too, word by word')
  .option('--max-size <size>', 'end there', arg.fileSize, 1e9)
  .action(async (flags) => {
    const { recordTrace } = await import('./cli/trace-record.ts');
    await recordTrace(flags);
  });

traceSource(trace.command('describe'))
  .description('sessions, lengths, times, reuse distance, ideal hit ratio, LRU curve')
  .option('--live <n>', 'sessions at once, where the trace has no clock of its own', arg.count, 16)
  .option('--think-cap-s <s>', 'longest gap between turns then', arg.count, 60)
  .option('--max-context <tokens>', 'end threads where prompt and answer exceed it', arg.count)
  .option('--json', 'print it as JSON')
  .option('--svg <file>', 'write plots as one SVG file')
  .action(async (file: string | undefined, flags) => {
    const { describeTrace } = await import('./cli/trace.ts');
    await describeTrace(file, flags);
  });

traceSource(trace.command('convert'))
  .description('the same trace as mooncake, agentic (Dynamo’s, version 2) or recording')
  .requiredOption('--to <format>', 'mooncake, agentic or recording')
  .option('--out <file>', 'packed where it ends in .gz; else standard output')
  .addOption(
    new Option('--scope <scope>', 'of block ids in agentic; Dynamo reads local')
      .choices(['local', 'global'])
      .default('local'),
  )
  .action(async (file: string | undefined, flags) => {
    const { convertTrace } = await import('./cli/trace.ts');
    await convertTrace(file, flags);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
  if (!(error instanceof Complaint)) throw error;
  process.stderr.write(`stator: ${error.message}\n`);
  process.exit(error.exitCode);
}
