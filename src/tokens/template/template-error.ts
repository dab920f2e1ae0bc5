/**
 * A template that cannot be compiled or rendered. The sentence names the line and no user's text,
 * except where the template itself refuses a conversation in its own words.
 */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/** The template's own `raise_exception`: it does not take this conversation. */
export class TemplateRefusal extends TemplateError {
  override name = 'TemplateRefusal';
}

/** For the compiler: what stands in `line` is not supported, or not Jinja. */
export function refuse(line: number, what: string): never {
  throw new TemplateError(`line ${line} of its chat template has ${what}`);
}
