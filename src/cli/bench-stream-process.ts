/**
 * The processes of `stator bench proxy` and `bench gateway`: each prints the port it listens on, then an
 * answer to each line of its input, as JSON.
 *
 *   engine EVENTS_PER_S EVENTS MODEL   a paced engine
 *   pipe ENGINE                  the bare pipe: any line → {cpuUs, rssBytes} of its process
 *   gateway ENGINE MODEL         Stator, as `stator serve` runs it: the same
 */
import { createInterface } from 'node:readline';
import { BarePipe } from '../bench/streams/bare-pipe.ts';
import { pacedCard } from '../bench/streams/paced-card.ts';
import { PacedEngine } from '../bench/streams/paced-engine.ts';
import { Config } from '../model/config.ts';
import { loadModel } from './load-model.ts';
import { serve } from './serve.ts';
import { VERSION } from './version.ts';

const MODEL = 'bench';
const BLOCK_TOKENS = 16;

const [role, ...args] = process.argv.slice(2);
if (role === 'engine') await engine(Number(args[0]), Number(args[1]), args[2]);
else if (role === 'pipe') process.stdout.write(`${await new BarePipe(args[0]).start()}\n`);
else await gateway(args[0], args[1]);

for await (const _ of createInterface({ input: process.stdin })) {
  const { user, system } = process.cpuUsage();
  const usage = { cpuUs: user + system, rssBytes: process.memoryUsage.rss() };
  process.stdout.write(`${JSON.stringify(usage)}\n`);
}
process.exit(0);

async function engine(eventsPerS: number, events: number, model: string): Promise<void> {
  const { fingerprint } = loadModel(model, BLOCK_TOKENS);
  const card = (url: string) => pacedCard({ url, model: MODEL, fingerprint, version: VERSION });
  const paced = new PacedEngine({ pace: { eventsPerS, events }, card });
  process.stdout.write(`${await paced.start()}\n`);
}

/** Prints where it listens, as it does for everybody. */
async function gateway(url: string, path: string): Promise<void> {
  const models = [{ name: MODEL, path }];
  await serve(Config.parse({ listen: { port: 0 }, models, workers: [{ url }] }));
}
