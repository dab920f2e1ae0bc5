/**
 * Who may do what.
 *
 *   no keys configured   everybody who reaches us is on this machine: one tenant, admin
 *   keys configured      a key names its tenant; no key, no answer
 *   x-tenant-id          counts from a trusted proxy, which sets it, and from this machine where there
 *                        are no keys or the key is an admin's: else a key would be every tenant's as
 *                        soon as a proxy on this machine passes headers on
 *   admin routes         besides: Host must be ours and Origin absent or the same, so that no web page
 *                        a user visits can drive them (cross-site requests, DNS rebinding)
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { Call } from '../http/call.ts';
import type { KeyConfig } from '../model/config.ts';
import { GatewayError } from '../model/error.ts';
import type { TenantId } from '../model/ids.ts';

/** Who is calling. */
export interface Caller {
  tenant: TenantId;
  /** May see and change what is not its own tenant's. */
  admin: boolean;
}

interface Trust {
  keys: readonly KeyConfig[];
  trustedProxies: readonly string[];
}

export const DEFAULT_TENANT = 'default' as TenantId;

const TENANT_BYTES_MAX = 128;

export class Access {
  #keys: readonly { digest: Uint8Array; tenant: TenantId; admin: boolean }[] = [];
  #trustedProxies: ReadonlySet<string> = new Set();
  readonly #hosts: ReadonlySet<string>;

  constructor(given: Trust & { host: string }) {
    this.trust(given);
    this.#hosts = new Set(['localhost', '127.0.0.1', '[::1]', given.host.toLowerCase()]);
  }

  /** Who is let in from now on; calls that are under way are not asked again. */
  trust({ keys, trustedProxies }: Trust): void {
    this.#keys = keys.map(({ key, tenant, admin }) => ({
      digest: digestOf(key),
      tenant: tenant as TenantId,
      admin,
    }));
    this.#trustedProxies = new Set(trustedProxies.map(plainAddress));
  }

  /** Throws `unauthorized` where a key is needed and none, or a wrong one, was sent. */
  caller(call: Pick<Call, 'headers' | 'remote' | 'vouched'>): Caller {
    const { vouched } = call;
    if (vouched !== undefined) return { ...vouched, tenant: vouched.tenant as TenantId };
    const known =
      this.#keys.length === 0 ? { tenant: DEFAULT_TENANT, admin: true } : this.#byKey(call);
    const named = call.headers['x-tenant-id'];
    if (named === undefined || named === '' || !this.#mayName(known, call.remote)) return known;
    if (Buffer.byteLength(named) > TENANT_BYTES_MAX) {
      throw new GatewayError(
        'invalid_request',
        `x-tenant-id is longer than ${TENANT_BYTES_MAX} bytes.`,
      );
    }
    return { ...known, tenant: named as TenantId };
  }

  /** Throws `forbidden` unless the call comes from our own page or from no page at all. */
  admin(call: Call): Caller {
    this.sameSite(call);
    const caller = this.caller(call);
    if (caller.admin) return caller;
    throw new GatewayError(
      'forbidden',
      'This key may not use admin routes; use one with admin: true.',
    );
  }

  sameSite(call: Pick<Call, 'headers'>): void {
    const host = (call.headers.host ?? '').toLowerCase();
    // A page elsewhere can give our address a name of its own, but not make a name of the address.
    const name = host.replace(/:\d+$/, '');
    if (!this.#hosts.has(name) && isIP(name.replace(/^\[|\]$/g, '')) === 0) {
      throw new GatewayError('forbidden', 'The Host header does not name this server.');
    }
    const { origin } = call.headers;
    if (origin !== undefined && origin.toLowerCase().replace(/^https?:\/\//, '') !== host) {
      throw new GatewayError('forbidden', 'Admin routes do not answer pages of other origins.');
    }
  }

  #byKey(call: Pick<Call, 'headers'>): Caller {
    const bearer = /^Bearer\s+(.+)$/i.exec(call.headers.authorization ?? '')?.[1];
    for (const sent of [bearer, call.headers['x-api-key']]) {
      if (sent === undefined) continue;
      const digest = digestOf(sent.trim());
      const key = this.#keys.find((one) => timingSafeEqual(one.digest, digest));
      if (key !== undefined) return { tenant: key.tenant, admin: key.admin };
    }
    throw new GatewayError(
      'unauthorized',
      'Send one of the configured keys as bearer token or x-api-key.',
    );
  }

  #mayName({ admin }: Caller, remote: string): boolean {
    return (admin && isLoopback(remote)) || this.#trustedProxies.has(plainAddress(remote));
  }
}

export function isLoopback(address: string): boolean {
  return (
    address === '::1' || address === 'localhost' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address)
  );
}

/** IPv4 as IPv6 sockets write it is IPv4. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:/i, '');
}

function digestOf(key: string): Uint8Array {
  return createHash('sha256').update(key).digest();
}
