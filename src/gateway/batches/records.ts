/** Files and batches as OpenAI's clients see them, and whose they are. Times are in seconds since 1970. */
import { randomBytes } from 'node:crypto';
import type { Problem } from './batch-plan.ts';

export interface FileObject {
  id: string;
  object: 'file';
  bytes: number;
  created_at: number;
  expires_at: number;
  filename: string;
  purpose: 'batch' | 'batch_output';
  status: 'processed';
}

export interface FileRecord {
  tenant: string;
  file: FileObject;
}

export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled';

export interface BatchObject {
  id: string;
  object: 'batch';
  endpoint: string;
  errors: { object: 'list'; data: Problem[] } | null;
  input_file_id: string;
  completion_window: string;
  status: BatchStatus;
  output_file_id: string | null;
  error_file_id: string | null;
  created_at: number;
  in_progress_at: number | null;
  expires_at: number;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  request_counts: { total: number; completed: number; failed: number };
  metadata: Record<string, string> | null;
}

export interface BatchRecord {
  tenant: string;
  batch: BatchObject;
  /** What its results will be called once there are any. */
  outputId: string;
  errorId: string;
}

export function newFileId(): string {
  return `file-${randomBytes(12).toString('hex')}`;
}

export function newBatchId(): string {
  return `batch_${randomBytes(16).toString('hex')}`;
}

export function isOver({ status }: BatchObject): boolean {
  return (
    status === 'completed' || status === 'failed' || status === 'expired' || status === 'cancelled'
  );
}
