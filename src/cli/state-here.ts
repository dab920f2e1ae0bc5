import { homedir } from 'node:os';
import { stateFolder } from '../weights/folders.ts';

/** Where this machine's user keeps what outlives a process. */
export function stateHere(): string {
  return stateFolder({ env: process.env, platform: process.platform, home: homedir() });
}
