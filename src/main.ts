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
  .requiredOption('-c, --config <file>', 'stator.yaml: listen, keys, models, workers, policy')
  .action(async ({ config }: { config: string }) => {
    const { readConfig, serve } = await import('./cli/serve.ts');
    await serve(readConfig(config));
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
  .action(async (flags) => {
    const { runWorker, workerSettings } = await import('./cli/worker.ts');
    await runWorker(workerSettings(flags), flags.port);
  });

stackFlags(
  program
    .command('compare')
    .description('the same sessions through several policies, side by side'),
)
  .requiredOption('--sessions <folder>', 'recorded agent sessions: messages.jsonl.gz and tools')
  .addOption(
    new Option('--policies <names>', 'with commas')
      .argParser(arg.names)
      .default(['random', 'round-robin', 'sticky', 'stator']),
  )
  .option('--live <n>', 'sessions at once', arg.count, 8)
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
  .action(async (flags) => {
    const { compare } = await import('./cli/compare.ts');
    await compare(flags);
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
  .description('figures with their baseline beside them, in one run: engine, tokens')
  .option('--model <path|name>', 'of the engine: a GGUF file, a name of the catalogue, or demo')
  .option('--json', 'print the report as JSON')
  .action(async (name: string, flags: { json?: boolean; model?: string }) => {
    const { bench } = await import('./cli/bench.ts');
    await bench(name, flags);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
  if (!(error instanceof Complaint)) throw error;
  process.stderr.write(`stator: ${error.message}\n`);
  process.exit(error.exitCode);
}
