import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WorkerConfig } from '../model/fleet-config.ts';
import { type EndpointSlice, type EndpointsAsked, foundIn, readSlice } from './endpoint-slices.ts';

const { url: _, ...worker } = WorkerConfig.parse({ url: 'http://x', kind: 'vllm', model: 'qwen' });
const ASKED: EndpointsAsked = { port: undefined, scheme: 'http', worker };

test('ready ones are up, others drain, and those that terminate are gone; unknown is ready', () => {
  const { found, problem } = foundIn(
    [
      slice([
        endpoint('10.0.0.1', 'a', { ready: true }),
        endpoint('10.0.0.2', 'b', { ready: false }),
        endpoint('10.0.0.3', 'c', { ready: false, serving: true, terminating: true }),
        endpoint('10.0.0.4', 'd', {}),
      ]),
    ],
    ASKED,
  );
  assert.equal(problem, undefined);
  assert.deepEqual(
    found.map(({ config, name, instance, draining }) => [config.url, name, instance, draining]),
    [
      ['http://10.0.0.1:8000', 'a', 'uid-a', false],
      ['http://10.0.0.2:8000', 'b', 'uid-b', true],
      ['http://10.0.0.4:8000', 'd', 'uid-d', false],
    ],
  );
  assert.ok(found.every(({ config }) => config.kind === 'vllm' && config.model === 'qwen'));
});

test('a pod in two slices, or with addresses of two families, is one worker, ready where one says so', () => {
  const six = { ...slice([endpoint('fd00::1', 'a', { ready: true })]), addressType: 'IPv6' };
  const stale = slice([endpoint('10.0.0.1', 'a', { ready: false })], 'stale');
  const fresh = slice([endpoint('10.0.0.1', 'a', { ready: true })], 'fresh');
  const urls = (slices: EndpointSlice[]) =>
    foundIn(slices, ASKED).found.map(({ config, draining }) => `${config.url} ${draining}`);
  assert.deepEqual(urls([six, fresh]), ['http://10.0.0.1:8000 false']);
  assert.deepEqual(urls([stale, fresh]), ['http://10.0.0.1:8000 false']);
  assert.deepEqual(urls([fresh, stale]), ['http://10.0.0.1:8000 false']);
  assert.deepEqual(urls([six]), ['http://[fd00::1]:8000 false']);
});

test('a port is found by number, by name, or because there is one; else a sentence says what there is', () => {
  const ports = [
    { name: 'http', port: 8000 },
    { name: 'metrics', port: 9000 },
  ];
  const two = { ...slice([endpoint('10.0.0.1', 'a', {})]), ports };
  const asked = (port: string | number | undefined) => foundIn([two], { ...ASKED, port });
  assert.equal(asked('metrics').found[0].config.url, 'http://10.0.0.1:9000');
  assert.equal(asked(7000).found[0].config.url, 'http://10.0.0.1:7000');
  assert.deepEqual(asked(undefined), {
    found: [],
    problem: 'the service has 2 ports (http (8000), metrics (9000)); name one with port:',
  });
  assert.match(asked('grpc').problem ?? '', /has no port "grpc", but http \(8000\), metrics/);
  // A service scaled to nobody tells no ports either: nothing is wrong with it.
  const empty = { ...two, ports: [], endpoints: [] };
  assert.deepEqual(foundIn([empty], ASKED), { found: [], problem: undefined });
});

test('what the API leaves out, or says otherwise, is no endpoint and no error', () => {
  assert.equal(readSlice(undefined), undefined);
  assert.equal(readSlice({ kind: 'Status', metadata: {} }), undefined);
  const bare = readSlice({ metadata: { name: 's' }, addressType: 'IPv4', endpoints: null });
  assert.deepEqual(bare, { name: 's', addressType: 'IPv4', ports: [], endpoints: [] });
  const odd = readSlice({
    metadata: { name: 's' },
    ports: [{ name: null, port: 1 }, { name: 'x' }, 7],
    endpoints: [{}, { addresses: [] }, { addresses: [7] }, { addresses: ['a'], targetRef: {} }],
  });
  assert.deepEqual(odd?.ports, [{ name: '', port: 1 }]);
  assert.deepEqual(odd?.endpoints, [
    { address: 'a', isReady: true, isTerminating: false, pod: undefined },
  ]);
});

function endpoint(address: string, pod: string, conditions: object): unknown {
  const targetRef = { kind: 'Pod', name: pod, uid: `uid-${pod}` };
  return { addresses: [address], conditions, targetRef };
}

function slice(endpoints: unknown[], name = 's'): EndpointSlice {
  const ports = [{ name: 'http', port: 8000 }];
  const read = readSlice({ metadata: { name }, addressType: 'IPv4', ports, endpoints });
  return read ?? assert.fail('it is a slice');
}
