/** Where a local worker computes; `auto`: on a GPU whose libraries are installed, else on the CPU. */
export const DEVICES = ['cpu', 'cuda', 'vulkan', 'metal', 'auto'] as const;

export type Device = (typeof DEVICES)[number];
