// Tickertape in a React component: the answer grows while the model writes it. Allow your page's origin with
// TICKERTAPE_CORS_ORIGINS, or serve your page and Tickertape under one address.
//
// npm install ./client/javascript react react-dom

import { useEffect, useState } from 'react';
import { follow } from 'tickertape-client';

/** The state of a request; null before the first event. */
export function useRequest(requestId, baseUrl) {
  const [state, setState] = useState(null);
  useEffect(() => {
    const follower = follow({ requestId, baseUrl, onState: setState });
    return () => follower.close(); // only this reader ends: the request goes on
  }, [requestId, baseUrl]);
  return state;
}

export function Answer({ requestId, baseUrl }) {
  const request = useRequest(requestId, baseUrl);
  return <p data-status={request?.status}>{request?.error?.message ?? request?.text}</p>;
}
