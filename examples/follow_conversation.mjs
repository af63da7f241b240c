// Tickertape's own JavaScript client: all answers of a conversation in four lines, those to come as well. Ctrl+C ends it.
//
// npm install ./client/javascript
// node examples/follow_conversation.mjs sky

import { follow } from 'tickertape-client';

const baseUrl = process.env.TICKERTAPE_URL ?? 'http://127.0.0.1:8000';
const show = ({ requests }) => console.log(requests.at(-1)?.text ?? '');
follow({ conversationId: process.argv[2], baseUrl, onState: show });
