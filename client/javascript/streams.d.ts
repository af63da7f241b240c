import type { TickertapeError } from './calls.js'
import type { StreamEvent } from './fold.js'

/** What one connection to a stream needs. */
export interface ReadOptions {
  fetch: typeof globalThis.fetch
  /** Ends the connection. */
  signal: AbortSignal
  onOpen: () => void
  onEvent: (event: StreamEvent) => void
}

/** A function to feed with the text of an event stream, cut anywhere; it calls `onEvent` for each whole event. */
export function eventStreamDecoder(
  onEvent: (event: { kind: string, id: string, data: string }) => void,
): (piece: string) => void

/** Read one connection with fetch until it ends. Resolves to the reason (status 200: the stream ended); never rejects. */
export function readWithFetch(
  url: string,
  options: ReadOptions & { apiKey?: string, init?: RequestInit & { headers?: Record<string, string> } },
): Promise<TickertapeError>

/** Read one connection with EventSource until it ends. Resolves to the reason; never rejects. */
export function readWithEventSource(
  url: string,
  options: ReadOptions & { EventSource: typeof globalThis.EventSource },
): Promise<TickertapeError>
