// Runs before all other scripts of each page (page_guard.py): no text or file of a member runs with a user's login.
(() => {
  "use strict";

  // a path such as `__proto__/valueGetter` in a member's data must not give all objects a property
  Object.preventExtensions(Object.prototype);

  const scheme = (url) => {
    try {
      return new URL(url, location.href).protocol;
    } catch {
      return "";
    }
  };
  const { getAttribute } = Element.prototype; // a form's fields can hide its own

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

  // Files. In a frame without access to the login, the origin is "null".
  const onlyInFrames =
    "<!doctype html><script>if (self.origin !== 'null') document.write('<plaintext>')</" + "script>";
  const harmless = /^((image|audio|video)[/][a-z0-9.+-]+|application[/]pdf|(text|application)[/]javascript)$/;
  const pages = new Map(); // HTML files by address
  const create = URL.createObjectURL;
  URL.createObjectURL = function (file) {
    const kind = file instanceof Blob ? file.type.split(";")[0].trim().toLowerCase() : "";
    if (kind === "text/html") {
      const address = create.call(URL, new Blob([onlyInFrames, file], { type: "text/html;charset=utf-8" }));
      pages.set(address, file);
      return address;
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
  const revoke = URL.revokeObjectURL;
  URL.revokeObjectURL = function (address) {
    pages.delete(address);
    revoke.call(URL, address);
  };

  // The policy of this page would stop the scripts of an HTML file. So another page shows the file in the frame.
  const shown = (address) => (pages.has(String(address)) ? FRAME_ADDRESS + "#" + address : address);
  const { setAttribute } = Element.prototype;
  Element.prototype.setAttribute = function (name, value) {
    const isSource = this instanceof HTMLIFrameElement && String(name).toLowerCase() === "src";
    setAttribute.call(this, name, isSource ? shown(value) : value);
  };
  const source = Object.getOwnPropertyDescriptor(HTMLIFrameElement.prototype, "src");
  const setSource = function (value) {
    source.set.call(this, shown(value));
  };
  Object.defineProperty(HTMLIFrameElement.prototype, "src", { ...source, set: setSource });
  window.addEventListener("message", async (event) => {
    const file = pages.get(event.data);
    if (file !== undefined) {
      event.source.postMessage(await file.text(), "*");
    }
  });
})();
