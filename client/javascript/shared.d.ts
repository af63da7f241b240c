import type { ConversationFollower, FollowConversation } from './client.js'

/**
 * Follow a conversation over one connection for all tabs of a browser. Where there is no SharedWorker, and with the
 * options `after`, `url`, `fetch` and `EventSource`, this is `follow`.
 */
export function followShared(options: FollowConversation): ConversationFollower
