/** The SharedWorker of a browser, named alike by all that start it. */

/** A worker goes on until all its tabs are closed, so a change of the messages needs another name. */
const WORKER = 'tickertape-1'

/** The worker, which starts now unless it runs already. Throws where a page may not have one. */
export const startWorker = () => new SharedWorker(new URL('./shared_worker.js', import.meta.url), { type: 'module', name: WORKER })
