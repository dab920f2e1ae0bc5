/**
 * Processes beside the feed's bench, which tell what the machine itself does to a request:
 *
 *   idle, spin   answers HTTP and prints its port; `spin` keeps its event loop busy from one line of
 *                its input to the next, in slices as long as the feed's
 *   ask PORT…    with one line of its input begins to send requests to each port, one after another;
 *                with the next it stops and prints how long they took, as a JSON list
 */
import { Agent, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { Latencies } from '../bench/feed.ts';

const SLICE_MS = 1;
const PAUSE_MS = 2;

const [mode, ...ports] = process.argv.slice(2);
let isOn = false;
if (mode === 'ask') await ask();
else await serve();
process.exit(0);

async function serve(): Promise<void> {
  const server = createServer((_, response) => response.end('{}'));
  server.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  });
  for await (const _ of createInterface({ input: process.stdin })) {
    isOn = !isOn;
    if (isOn && mode === 'spin') spin();
  }
}

function spin(): void {
  if (!isOn) return;
  const startMs = performance.now();
  while (performance.now() - startMs < SLICE_MS);
  setImmediate(spin);
}

async function ask(): Promise<void> {
  let running: Promise<Latencies>[] = [];
  // So that connections are there, and code is warm.
  for (const port of ports) await latencies(Number(port), 100);
  process.stdout.write('ready\n');
  for await (const _ of createInterface({ input: process.stdin })) {
    isOn = !isOn;
    if (isOn) running = ports.map((port) => latencies(Number(port), undefined));
    process.stdout.write(`${isOn ? 'asking' : JSON.stringify(await Promise.all(running))}\n`);
  }
}

/** Of `countMax` requests, or of as many as there is time for. */
async function latencies(port: number, countMax: number | undefined): Promise<Latencies> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const tookMs: number[] = [];
  while (countMax === undefined ? isOn : tookMs.length < countMax) {
    const startMs = performance.now();
    await request(port, agent);
    tookMs.push(performance.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  agent.destroy();
  tookMs.sort((a, b) => a - b);
  const at = (share: number) => tookMs[Math.floor(share * (tookMs.length - 1))] ?? 0;
  return { count: tookMs.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function request(port: number, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, agent }, (response) => {
      response.resume().once('end', resolve);
    }).once('error', reject);
  });
}
