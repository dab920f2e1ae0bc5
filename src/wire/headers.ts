/** A request's headers, by lower-case name. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** Undefined where a header is absent or empty. */
export function present(headers: Headers, name: string): string | undefined {
  const trimmed = headers[name]?.trim();
  return trimmed === '' ? undefined : trimmed;
}
