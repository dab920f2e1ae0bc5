/** Why a JSON Schema cannot become a grammar; reads on from "The schema". */
export class SchemaError extends Error {
  override name = 'SchemaError';
}
