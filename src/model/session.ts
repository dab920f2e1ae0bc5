/** Who is asking, as far as the client let us know. */
import type { SessionId, TenantId, ThreadId } from './ids.ts';

export interface Identity {
  tenant: TenantId;
  session: SessionId | undefined;
  thread: ThreadId | undefined;
  parentSession: SessionId | undefined;
  /** Which signal told: a header or body field by name; 'nothing' where none did. */
  knownBy: string;
  /** The client said this session ends with this request. */
  isFinal: boolean;
}
