/** Requests that ask for another protocol than this server speaks. */
import type { IncomingMessage } from 'node:http';

/**
 * The same request without that wish, as bytes: RFC 9110, section 7.8, lets a server ignore it. `head` is
 * what came behind the headers.
 */
export function withoutUpgrade(request: IncomingMessage, head: Buffer): Buffer {
  const { method, url, httpVersion, rawHeaders } = request;
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    if (name === 'upgrade' || name === 'http2-settings' || name === 'connection') continue;
    text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  }
  // Headers are bytes to node:http, which reads and writes them as latin1.
  return Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]);
}
