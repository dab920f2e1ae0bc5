/** The few ids that could be swapped by mistake. Each is a plain string at run time. */
type Brand<Name extends string> = string & { readonly brand: Name };

export type WorkerId = Brand<'WorkerId'>;
export type RequestId = Brand<'RequestId'>;
/** What one client calls one conversation, sub-agents included. */
export type SessionId = Brand<'SessionId'>;
/** (session, agent): the unit of prefix reuse. */
export type ThreadId = Brand<'ThreadId'>;
/** Whoever owns a key. Nothing cached or stored crosses tenants. */
export type TenantId = Brand<'TenantId'>;
