// Runs before all other scripts of each page (page_links.py): no text or file of a member runs with a user's login.
(() => {
  "use strict";

  const scheme = (url) => {
    try {
      return new URL(url, location.href).protocol;
    } catch {
      return "";
    }
  };
  const { getAttribute, getAttributeNames, removeAttribute } = Element.prototype; // a form's fields can hide its own

  // Links
  const links = ["href", "xlink:href", "action", "formaction"];
  const isStopped = (node) =>
    links.some((name) => {
      const found = scheme(getAttribute.call(node, name) ?? "");
      return found === "javascript:" || (found === "blob:" && getAttribute.call(node, "download") === null);
    });
  const stop = (event) => {
    const nodes = event.composedPath().concat(event.submitter ?? []).filter((node) => node instanceof Element);
    if (nodes.some(isStopped)) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  };
  for (const kind of ["click", "auxclick", "submit"]) {
    window.addEventListener(kind, stop, { capture: true });
  }

  const open = window.open;
  window.open = function (url, ...others) {
    if (url !== undefined && ["javascript:", "blob:"].includes(scheme(url))) {
      return null;
    }
    const opened = open.call(window, url, ...others);
    if (opened !== null && url !== undefined && new URL(url, location.href).origin !== location.origin) {
      opened.opener = null; // another site must not replace this page
    }
    return opened;
  };

  // Requests: an identifier that a member chose must not lead to another route
  const climbs = (url) => {
    const path = String(url).replace(/[\t\n\r]/g, "").split(/[?#]/)[0]; // as the browser reads the address
    return /(^|[/\\])(\.|%2e){2}([/\\]|$)/i.test(path);
  };
  const refusal = () => new TypeError("an address with '..' in its path");
  const request = window.fetch;
  window.fetch = function (address, ...others) {
    const isRefused = !(address instanceof Request) && climbs(address);
    return isRefused ? Promise.reject(refusal()) : request.call(window, address, ...others);
  };
  const prepare = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, url, ...others) {
    if (climbs(url)) {
      throw refusal();
    }
    return prepare.call(this, method, url, ...others);
  };

  // Markup: event handlers, and frames with markup or scripts of their own, are removed from text that becomes elements
  const isSuspicious = (markup) => /\bon\w+\s*=|<(iframe|frame|object|embed|base|animate|set)\b/i.test(markup);
  const inert = document.implementation.createHTMLDocument(""); // runs no script and loads no image
  const write = Object.getOwnPropertyDescriptor(Element.prototype, "innerHTML").set;
  const isHarmful = (name, value) =>
    /^(on|srcdoc$)/i.test(name) ||
    scheme(value) === "javascript:" ||
    (name.toLowerCase() === "attributename" && /href$/i.test(value));
  const clean = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node instanceof HTMLTemplateElement) {
        clean(node.content);
      }
      for (const name of getAttributeNames.call(node)) {
        if (isHarmful(name, getAttribute.call(node, name))) {
          removeAttribute.call(node, name);
        }
      }
    }
  };
  // The elements themselves move to the page. Text that is parsed twice could mean something else the second time.
  const elements = (context, markup) => {
    const twin = inert.importNode(context, false);
    write.call(twin, markup);
    const root = twin instanceof HTMLTemplateElement ? twin.content : twin;
    clean(root);
    return root.childNodes;
  };
  const replaceSetter = (prototype, name, set) => {
    const found = Object.getOwnPropertyDescriptor(prototype, name);
    const guarded = function (markup) {
      if (isSuspicious(markup)) {
        set(this, markup);
      } else {
        found.set.call(this, markup);
      }
    };
    Object.defineProperty(prototype, name, { ...found, set: guarded });
  };
  replaceSetter(Element.prototype, "innerHTML", (node, markup) => {
    const root = node instanceof HTMLTemplateElement ? node.content : node;
    root.replaceChildren(...elements(node, markup));
  });
  replaceSetter(ShadowRoot.prototype, "innerHTML", (root, markup) => {
    root.replaceChildren(...elements(root.host, markup));
  });
  replaceSetter(Element.prototype, "outerHTML", (node, markup) => {
    node.replaceWith(...elements(node.parentElement ?? document.body, markup));
  });
  const places = { beforebegin: "before", afterbegin: "prepend", beforeend: "append", afterend: "after" };
  const insert = Element.prototype.insertAdjacentHTML;
  Element.prototype.insertAdjacentHTML = function (place, markup) {
    const method = places[String(place).toLowerCase()];
    if (method === undefined || !isSuspicious(markup)) {
      insert.call(this, place, markup);
      return;
    }
    const context = ["prepend", "append"].includes(method) ? this : this.parentElement;
    this[method](...elements(context, markup));
  };

  // Files. In a frame without access to the login, the origin is "null".
  const onlyInFrames =
    "<!doctype html><script>if (self.origin !== 'null') document.write('<plaintext>')</" + "script>";
  const harmless = /^((image|audio|video)[/][a-z0-9.+-]+|application[/]pdf|(text|application)[/]javascript)$/;
  const create = URL.createObjectURL;
  URL.createObjectURL = function (file) {
    const kind = file instanceof Blob ? file.type.split(";")[0].trim().toLowerCase() : "";
    if (kind === "text/html") {
      return create.call(URL, new Blob([onlyInFrames, file], { type: "text/html;charset=utf-8" }));
    }
    if (kind === "image/svg+xml") {
      // an image at an address whose page has no access to the login
      const whole = new XMLHttpRequest();
      const address = create.call(URL, file);
      whole.open("GET", address, false);
      whole.send();
      URL.revokeObjectURL(address);
      return "data:image/svg+xml;charset=utf-8," + encodeURIComponent(whole.responseText);
    }
    if (!(file instanceof Blob) || (harmless.test(kind) && !kind.endsWith("xml"))) {
      return create.call(URL, file);
    }
    return create.call(URL, new Blob([file], { type: kind === "" ? "application/octet-stream" : "text/plain" }));
  };
})();
