// Tickertape's own JavaScript client: a request in four lines.
//
// npm install ./client/javascript
// node examples/follow.mjs "Why is the sky blue?"

import { follow, submit } from 'tickertape-client';

const baseUrl = process.env.TICKERTAPE_URL ?? 'http://127.0.0.1:8000';
const { request_id } = await submit({ message: process.argv[2] }, { baseUrl });
const { text } = await follow({ requestId: request_id, baseUrl }).closed;
console.log(text);
