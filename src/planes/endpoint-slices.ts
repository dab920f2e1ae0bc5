/** Endpoints of a Kubernetes service, as EndpointSlices tell of them (discovery.k8s.io/v1). */
import type { WorkerConfig } from '../model/fleet-config.ts';
import type { Found } from './discovery.ts';

/** As far as it is read; what is missing or of another kind is undefined, as the API leaves out what is empty. */
export interface EndpointSlice {
  name: string;
  addressType: string;
  ports: { name: string; port: number }[];
  endpoints: Endpoint[];
}

interface Endpoint {
  address: string;
  isReady: boolean;
  isTerminating: boolean;
  /** Which pod it is. */
  pod: { name: string; uid: string } | undefined;
}

export interface EndpointsAsked {
  /** By name or number; undefined: the only one there is. */
  port: string | number | undefined;
  scheme: 'http' | 'https';
  /** All workers, but for their addresses. */
  worker: Omit<WorkerConfig, 'url'>;
}

/** Undefined: it is no slice. */
export function readSlice(value: unknown): EndpointSlice | undefined {
  const slice = objectOf(value);
  const { name } = objectOf(slice.metadata);
  if (typeof name !== 'string') return undefined;
  const ports = listOf(slice.ports).flatMap(({ name: portName, port }) => {
    const named = typeof portName === 'string' ? portName : '';
    return typeof port === 'number' ? [{ name: named, port }] : [];
  });
  return {
    name,
    addressType: String(slice.addressType),
    ports,
    endpoints: listOf(slice.endpoints).flatMap(readEndpoint),
  };
}

/**
 * Who is there: ready ones, and as draining those that are not. One that terminates is gone already: what
 * runs there may end. `problem`: why some cannot be used.
 */
export function foundIn(
  slices: Iterable<EndpointSlice>,
  asked: EndpointsAsked,
): { found: Found[]; problem: string | undefined } {
  const byPod = new Map<string, Found>();
  let problem: string | undefined;
  // A pod with addresses of both families is one worker.
  const sorted = [...slices].sort((a, b) => (a.addressType < b.addressType ? -1 : 1));
  for (const { addressType, ports, endpoints } of sorted) {
    const port = portOf(ports, asked.port);
    if (typeof port === 'string') {
      if (endpoints.length > 0) problem = port;
      continue;
    }
    for (const { address, isReady, isTerminating, pod } of endpoints) {
      if (isTerminating) continue;
      const host = addressType === 'IPv6' ? `[${address}]` : address;
      const url = `${asked.scheme}://${host}:${port}`;
      const key = pod?.uid ?? url;
      const known = byPod.get(key);
      // While a pod moves from slice to slice it is in two, and the newer one may know more.
      if (known !== undefined && (!known.draining || !isReady)) continue;
      const config = { ...asked.worker, url };
      byPod.set(key, { config, name: pod?.name, instance: pod?.uid, draining: !isReady });
    }
  }
  return { found: [...byPod.values()], problem };
}

/** Its number, or a sentence. */
function portOf(
  ports: EndpointSlice['ports'],
  wanted: string | number | undefined,
): number | string {
  if (typeof wanted === 'number') return wanted;
  const fitting = wanted === undefined ? ports : ports.filter(({ name }) => name === wanted);
  if (fitting.length === 1) return fitting[0].port;
  const names = ports.map(({ name, port }) => `${name || 'without a name'} (${port})`).join(', ');
  return wanted === undefined
    ? `the service has ${ports.length} ports (${names || 'none'}); name one with port:`
    : `the service has no port ${JSON.stringify(wanted)}, but ${names || 'none'}`;
}

function readEndpoint(value: Record<string, unknown>): Endpoint[] {
  const [address] = Array.isArray(value.addresses) ? value.addresses : [];
  if (typeof address !== 'string') return [];
  const { ready, terminating } = objectOf(value.conditions);
  const { kind, name, uid } = objectOf(value.targetRef);
  const isPod = kind === 'Pod' && typeof name === 'string' && typeof uid === 'string';
  return [
    {
      address,
      // Unknown is to be taken as ready, says the API.
      isReady: ready !== false,
      isTerminating: terminating === true,
      pod: isPod ? { name, uid } : undefined,
    },
  ];
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.map(objectOf) : [];
}
