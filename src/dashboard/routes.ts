/** The page: its files, read once. What it shows it hears from /stator/v1/events. */
import { readFileSync } from 'node:fs';
import type { Call } from '../http/call.ts';
import type { Route } from '../http/router.ts';

const SCRIPT = 'text/javascript; charset=utf-8';
const FILES: Record<string, { file: string; type: string }> = {
  'GET /': { file: 'index.html', type: 'text/html; charset=utf-8' },
  'GET /page/page.js': { file: 'page.js', type: SCRIPT },
  'GET /page/dom.js': { file: 'dom.js', type: SCRIPT },
  'GET /page/policies.js': { file: 'policies.js', type: SCRIPT },
  'GET /page/receipts.js': { file: 'receipts.js', type: SCRIPT },
  'GET /page/style.css': { file: 'style.css', type: 'text/css; charset=utf-8' },
};

const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy': "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
};

/** `guard` refuses calls that are not from this machine's own page. */
export function dashboardRoutes(guard: { sameSite(call: Call): void }): Map<string, Route> {
  const entries = Object.entries(FILES).map(([pattern, { file, type }]): [string, Route] => {
    const content = readFileSync(new URL(`./page/${file}`, import.meta.url));
    const route: Route = (call) => {
      guard.sameSite(call);
      call.reply.head(200, { ...HEADERS, 'content-type': type });
      call.reply.end(content);
    };
    return [pattern, route];
  });
  return new Map(entries);
}
