/** Starts the worker of the browser's tabs, while the other modules of the page are still on their way. */

import { startWorker } from './client/v1/shared_start.js'

try {
  startWorker()
} catch {
  // `followShared` does without
}
