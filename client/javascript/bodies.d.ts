/** What goes over the wire. The names and the fields are those of the schemas in the server's `/openapi.json`. */

/** An image by URL or as a `data:` URL. */
export interface ImageUrl {
  url: string
  detail?: string | null
}

/** Sound in base64. */
export interface InputAudio {
  data: string
  format: 'wav' | 'mp3'
}

/** A file as a `data:` URL. */
export interface AttachedFile {
  filename: string
  file_data: string
}

/** A part of a message: text, or an image, sound or file for models that accept it. The field of its type is needed. */
export interface Part {
  type: 'text' | 'image_url' | 'input_audio' | 'file'
  text?: string | null
  image_url?: ImageUrl | null
  input_audio?: InputAudio | null
  file?: AttachedFile | null
}

/** A message in OpenAI's form. */
export interface Message {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool'
  content?: string | Part[] | null
  name?: string | null
  tool_calls?: Record<string, unknown>[] | null
  tool_call_id?: string | null
}

/** A request, with one `message` or with several `messages`. */
export interface ChatBody {
  message?: string | null
  messages?: Message[] | null
  /** The name of a role template. */
  role?: string | null
  variables?: Record<string, string>
  model?: string | null
  temperature?: number | null
  top_p?: number | null
  max_tokens?: number | null
  conversation_id?: string | null
  /** The request id of the turn that this one follows; null: the start. Without the field, it follows the latest turn. */
  parent_id?: string | null
  /** What to do while the conversation has an active request. */
  on_busy?: 'queue' | 'reject' | 'replace'
  /** What to do when the answer breaks off after output. */
  on_interruption?: 'restart' | 'continue' | 'fail'
  metadata?: Record<string, string> | null
  /**
   * How many seconds the request is kept after its end. With a conversation: how many the conversation is kept after
   * its last request, from now on, and its requests for at most as long. The server sets the limits.
   */
  retention_s?: number | null
}

/** An accepted request. */
export interface SubmittedView {
  request_id: string
  status: string
  stream_url: string
  conversation_id?: string | null
}

export interface CancelView {
  request_id: string
  /** The state in which the request has ended. */
  status: string
}

export interface RoleSummary {
  name: string
  description: string
  model_defaults: Record<string, unknown>
  /** The variables of the template, with their defaults. */
  variables: Record<string, string>
}

/** A question and its answer, as the server remembers them. */
export interface TurnView {
  request_id: string
  parent_id: string | null
  asked: Record<string, unknown>[]
  answered: string | null
  status?: string | null
  tool_calls?: Record<string, unknown>[] | null
}

/** A conversation in a list; the role and the options are those of its latest request. Times are Unix times in s. */
export interface ConversationSummary {
  conversation_id: string
  title: string | null
  created_at: number
  updated_at: number
  turns: number
  active_request_id: string | null
  role: string | null
  model: string | null
  temperature: number | null
  variables: Record<string, string> | null
}

export interface ConversationView extends Omit<ConversationSummary, 'turns'> {
  /** In the order of their questions. */
  turns: TurnView[]
  /** Only with `limit` or `before`: asks for the turns in front of these; null at the start. */
  before?: string | null
}

/** A page of conversations, the one with the latest request first. */
export interface ConversationList {
  conversations: ConversationSummary[]
  /** Asks for the next page; null at the end. */
  after: string | null
}
