// Browsers refuse workers on pages that are opened as files, so that the search would not start. There, a worker's
// script runs in a hidden frame instead. The name of this file keeps the offline plugin from loading its own
// replacement from another host.
if (location.protocol === 'file:') {
  window.Worker = class extends EventTarget {
    #frame = document.createElement('iframe');
    #loaded;

    constructor(url) {
      super();
      this.#frame.hidden = true;
      document.documentElement.append(this.#frame);
      this.#loaded = new Promise((resolve, reject) => this.#load(String(url), resolve, reject));
    }

    #load(url, resolve, reject) {
      const scope = this.#frame.contentWindow;
      scope.postMessage = (data) => this.#deliver(this, data);
      scope.__index = window.__index;
      const script = scope.document.createElement('script');
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${url} cannot be loaded`));
      script.src = url;
      scope.document.documentElement.append(script);
    }

    #deliver(target, data) {
      target.dispatchEvent(new MessageEvent('message', { data }));
    }

    async postMessage(data) {
      await this.#loaded;
      this.#deliver(this.#frame.contentWindow, data);
    }

    terminate() {
      this.#frame.remove();
    }
  };
}
