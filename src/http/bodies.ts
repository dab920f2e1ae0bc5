import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError } from '../model/error.ts';

/** Reads bodies into memory, and knows what all of them take there. */
export class Bodies {
  readonly #bytesMax: number;
  readonly #allBytesMax: number;
  #bytes = 0;

  constructor({ bodyBytesMax, bodiesBytesMax }: { bodyBytesMax: number; bodiesBytesMax: number }) {
    this.#bytesMax = bodyBytesMax;
    this.#allBytesMax = bodiesBytesMax;
  }

  /** Counted as it comes, not as announced: who only says much takes no room from others. */
  async read(request: IncomingMessage, response: ServerResponse): Promise<Uint8Array> {
    if (Number(request.headers['content-length'] ?? 0) > this.#bytesMax) throw this.#tooLarge();
    const chunks: Buffer[] = [];
    let bytes = 0;
    let isOver = false;
    response.once('close', () => {
      isOver = true;
      this.#bytes -= bytes;
    });
    try {
      for await (const chunk of request) {
        const { length } = chunk as Buffer;
        if (isOver) throw new Error('nobody waits for this body any more');
        if (bytes + length > this.#bytesMax) throw this.#tooLarge();
        if (this.#bytes + length > this.#allBytesMax) throw noRoom();
        bytes += length;
        this.#bytes += length;
        chunks.push(chunk as Buffer);
      }
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      throw new GatewayError('client_closed', 'The client left before its request was whole.');
    }
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
  }

  #tooLarge(): GatewayError {
    return new GatewayError('body_too_large', `The body is larger than ${this.#bytesMax} bytes.`);
  }
}

function noRoom(): GatewayError {
  return new GatewayError(
    'queue_full',
    'Requests that are being served take all the memory there is for bodies; try again soon.',
  );
}
