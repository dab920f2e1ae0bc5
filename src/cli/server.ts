/** Servers that somebody else runs: what they do not take is said in a sentence. */
import { type Endpoint, EndpointError, meet } from '../bench/endpoint.ts';
import { Complaint } from './complaint.ts';

export async function met(url: string, given: { key?: string; model?: string }): Promise<Endpoint> {
  if (!/^https?:\/\/[^/]/.test(url)) {
    throw new Complaint(
      `'${url}' is no address of a server; one is like http://127.0.0.1:8000.`,
      2,
    );
  }
  return inWords(() => meet(url, given));
}

export async function inWords<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof EndpointError) throw new Complaint(error.message);
    throw error;
  }
}
