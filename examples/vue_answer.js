// Tickertape in a Vue component: the answer grows while the model writes it. Allow your page's origin with
// TICKERTAPE_CORS_ORIGINS, or serve your page and Tickertape under one address.
//
// npm install ./client/javascript vue

import { h, onWatcherCleanup, shallowRef, toValue, watchEffect } from 'vue';
import { follow } from 'tickertape-client';

/** The state of a request; null before the first event. The id may be a ref or a getter. */
export function useRequest(requestId, baseUrl) {
  const state = shallowRef(null);
  watchEffect(() => {
    const onState = (next) => { state.value = next; };
    const follower = follow({ requestId: toValue(requestId), baseUrl, onState });
    onWatcherCleanup(() => follower.close()); // only this reader ends: the request goes on
  });
  return state;
}

export const Answer = {
  props: ['requestId', 'baseUrl'],
  setup(props) {
    const request = useRequest(() => props.requestId, props.baseUrl);
    return () => h('p', { 'data-status': request.value?.status }, request.value?.error?.message ?? request.value?.text);
  },
};
