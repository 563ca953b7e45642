// One script tag for single-page applications: <script src="/.stepgate/client.js"></script>, before the app's own.
//
// A call that needs its owner's code opens a dialog that shows what the gateway stored; after it the very same call is
// sent again, and its caller gets the final answer, else the refusal. An app may bring its own dialog: see client.d.ts.
(() => {
  "use strict";
  if (window.stepgate) return;
  const ROOT = "/.stepgate/";
  // What is larger is not guarded: kept by reference, for the check of a place.
  const COPY_MAX = 65536;
  // A call may owe a code for its place and then one for itself.
  const ROUNDS = 3;
  const fetchOf = window.fetch.bind(window);
  const Inner = window.XMLHttpRequest;
  const copies = (value) => (value && value.byteLength <= COPY_MAX ? value.slice(0) : value);

  // --- What is sent again must be what was sent.

  /** A body as it can be sent now and again, and its media type if that would otherwise be another one each time. */
  function keep(body) {
    if (body instanceof FormData) {
      const parts = [...body];
      if (parts.some(([, value]) => typeof value !== "string")) {
        const copy = new FormData();
        parts.forEach(([name, value]) => copy.append(name, value));
        return { body: copy };
      }
      // Browsers draw another boundary each time: that would be another request.
      const boundary = "----stepgate" + crypto.randomUUID();
      const lines = (text, end) => text.replace(/\r\n|\r|\n/g, end);
      const text = parts.map(
        ([name, value]) =>
          `--${boundary}\r\nContent-Disposition: form-data; name="${lines(name, "%0D%0A").replace(/"/g, "%22")}"\r\n\r\n` +
          lines(value, "\r\n") + "\r\n",
      );
      return { body: text.join("") + `--${boundary}--\r\n`, type: "multipart/form-data; boundary=" + boundary };
    }
    if (body instanceof URLSearchParams) return { body: new URLSearchParams(body) };
    if (body instanceof ArrayBuffer) return { body: copies(body) };
    if (ArrayBuffer.isView(body)) {
      return { body: copies(body.buffer.slice(body.byteOffset, body.byteOffset + body.byteLength)) };
    }
    return { body };
  }

  /** A stream as it is sent once, and what went through it: nothing if it was too much to keep. */
  function recorded(stream) {
    let parts = [], size = 0;
    const seen = new TransformStream({
      transform(part, out) {
        size += part.byteLength;
        if (size > COPY_MAX) parts = null;
        if (parts) parts.push(part.slice());
        out.enqueue(part);
      },
    });
    return [stream.pipeThrough(seen), () => parts && new Blob(parts)];
  }

  /** Sends a call for the first time, and again. `again` may answer null: it cannot be repeated. */
  function plan(input, init) {
    init = { ...init };
    if (init.headers) init.headers = new Headers(init.headers);
    const method = (init.method || input.method || "GET").toUpperCase();
    const asked = input instanceof Request ? input : null;
    const headers = new Headers(init.headers || (asked ? asked.headers : undefined));
    const call = { headers, omit: (init.credentials || (asked && asked.credentials)) === "omit" };
    call.signal = init.signal || (asked && asked.signal);
    call.url = new URL(asked ? asked.url : String(input), document.baseURI);
    if (init.body instanceof ReadableStream) {
      const [stream, kept] = recorded(init.body);
      const first = { ...init, body: stream, duplex: "half" };
      const again = () => kept() && fetchOf(input, { ...init, body: kept() });
      return { ...call, first: () => fetchOf(input, first), again, done() {} };
    }
    if (asked && init.body == null && method !== "GET" && method !== "HEAD") {
      const first = new Request(asked, init);
      let spare = first.clone();
      const again = () => {
        const next = spare;
        spare = next.clone();
        return fetchOf(next);
      };
      // A copy that nobody reads is let go.
      const done = () => spare.body && spare.body.cancel().catch(() => {});
      return { ...call, first: () => fetchOf(first), again, done };
    }
    if (init.body != null) {
      const kept = keep(init.body);
      init.body = kept.body;
      if (kept.type && !headers.has("content-type")) {
        headers.set("content-type", kept.type);
        init.headers = headers;
      }
    }
    const send = () => fetchOf(input, init);
    return { ...call, first: send, again: send, done() {} };
  }

  // --- The gateway's own addresses, with the credential of the call.

  const NOT_OURS = /^(accept|content-|if-|range$|step-up-)/i;

  /** In the language of the page, if it says one. */
  const speak = (headers) => {
    const tag = document.documentElement.lang;
    if (tag) headers.set("accept-language", tag);
    return headers;
  };

  async function talk(call, path, body) {
    const headers = new Headers();
    call.headers.forEach((value, name) => NOT_OURS.test(name) || headers.set(name, value));
    headers.set("accept", "application/json");
    speak(headers);
    if (body) headers.set("content-type", "application/json");
    const credentials = call.omit ? "omit" : "same-origin";
    const method = body ? "POST" : "GET";
    const init = { method, headers, credentials, cache: "no-store", redirect: "error" };
    const response = await fetchOf(ROOT + path, body ? { ...init, body: JSON.stringify(body) } : init);
    const answer = await response.json();
    return { ...answer, ok: response.ok, status: response.status };
  }

  // --- One question at a time, and one for all calls that wait for the same answer.

  const questions = new Map();
  let line = Promise.resolve();

  /** True when it is approved; throws what the caller's signal says. */
  function ask(call, id) {
    let question = questions.get(id);
    if (!question) {
      const stop = new AbortController();
      question = { waiting: 0, stop };
      question.answer = line.then(() => put(call, id, stop.signal)).catch(() => false);
      line = question.answer;
      questions.set(id, question);
      question.answer.then(() => questions.delete(id));
    }
    question.waiting += 1;
    const leave = () => (question.waiting -= 1) || question.stop.abort();
    return new Promise((resolve, reject) => {
      const gone = () => {
        leave();
        reject(call.signal.reason);
      };
      if (call.signal && call.signal.aborted) return gone();
      if (call.signal) call.signal.addEventListener("abort", gone, { once: true });
      question.answer.then((approved) => {
        if (call.signal) call.signal.removeEventListener("abort", gone);
        resolve(approved);
      });
    });
  }

  const tell = (kind, detail) =>
    window.dispatchEvent(new CustomEvent("stepgate:" + kind, { detail, cancelable: kind === "challenge" }));

  const fixed = (value) => {
    if (Object(value) === value) Object.values(Object.freeze(value)).forEach(fixed);
    return value;
  };

  async function put(call, id, signal) {
    if (signal.aborted) return false;
    const path = "challenge/" + id;
    const challenge = await talk(call, path);
    if (!challenge.ok || challenge.state !== "open") return challenge.state === "approved";
    // Apps are given a copy: what is shown here is what the gateway said.
    const shown = fixed(structuredClone(challenge));
    const over = new AbortController();
    const approved = await new Promise((resolve) => {
      signal.addEventListener("abort", () => over.abort(resolve(false)));
      const end = (answer, approved) => {
        if (answer.state && answer.state !== "open") resolve(approved);
        return answer;
      };
      const detail = Object.freeze({
        challenge: shown,
        url: new URL(ROOT + path, location.href).href,
        signal,
        answer: async (factor, code) => {
          const answer = await talk(call, path + "/answer", { factor, [factor === "webauthn" ? "assertion" : "code"]: code });
          return end(answer, answer.state === "approved");
        },
        send: (factor) => talk(call, path + "/send", { factor: factor || "sms" }),
        reject: async (freeze) => end(await talk(call, path + "/reject", { freeze: !!freeze }), false),
        cancel: () => resolve(false),
      });
      if (tell("challenge", detail)) dialog(challenge, detail, over.signal).catch(() => resolve(false));
    });
    if (approved) over.abort();
    tell(approved ? "approved" : "closed", { challenge: shown });
    return approved;
  }

  // --- Our dialog, in a shadow root, with the sentences of the pages.

  const STYLE = `
    dialog { --ink:#1b2430; --soft:#55606d; --line:#d5dce4; --paper:#fff; --edge:#6b7683; --accent:#8a4f00; --bad:#ab1f2a;
      box-sizing:border-box; width:34rem; max-width:calc(100vw - 1rem); max-height:calc(100vh - 1rem); overflow:auto;
      padding:0 1.25rem 1.25rem; border:3px solid var(--accent); border-radius:10px;
      background:var(--paper); color:var(--ink); overflow-wrap:anywhere; color-scheme:light dark;
      font:16px/1.5 system-ui,sans-serif }
    dialog.place { --accent:#1b5aa6; border-width:1px }
    @media (prefers-color-scheme:dark) { dialog { --ink:#e7ebf0; --soft:#a9b4c0; --line:#3a4551; --paper:#1b222b; --edge:#8894a1;
      --accent:#f0b65c; --bad:#f5929a } dialog.place { --accent:#86b8f4 } }
    dialog::backdrop { background:rgb(0 0 0 / .6) }
    h2 { margin:0 -1.25rem .75rem; padding:.9rem 1.25rem; font-size:1.3rem; line-height:1.25; border-bottom:1px solid var(--line) }
    .transaction h2 { background:var(--accent); color:var(--paper) }
    h3 { margin:0; font-size:1rem } p,form { margin:.6rem 0 }
    dl { margin:.8rem 0; border:1px solid var(--edge); border-radius:8px } dl div { padding:.4rem .75rem }
    dl div + div { border-top:1px solid var(--line) } dt,.soft { color:var(--soft); font-size:.875rem } dd { margin:0; font-weight:600 }
    dd span { display:inline-block; margin-right:.5em } label { display:block; font-weight:600; margin-bottom:.3rem }
    input[name=code] { box-sizing:border-box; width:100%; min-height:46px; padding:.3rem .75rem; letter-spacing:.15em;
      font:600 1.35rem/1 ui-monospace,monospace; color:inherit; background:transparent; border:2px solid var(--edge); border-radius:8px }
    button { min-height:46px; margin:.5rem .5rem 0 0; padding:.4rem 1.2rem; font:inherit; font-weight:700; cursor:pointer;
      color:var(--paper); background:var(--accent); border:2px solid var(--accent); border-radius:8px }
    .quiet,.danger { color:var(--ink); background:transparent; border-color:var(--edge) } .danger,h3 { color:var(--bad); border-color:var(--bad) }
    [role=alert] { color:var(--bad); font-weight:600 } [hidden] { display:none }
    .check { display:flex; gap:.5rem; font-weight:400 } .check input { flex:none; width:24px; height:24px; margin:0 }
    section { margin-top:1rem; padding:.75rem; border:1px solid var(--bad); border-radius:8px }
    :focus-visible { outline:3px solid; outline-offset:2px }`;

  function make(tag, props, ...children) {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children.filter(Boolean));
    return element;
  }

  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const named = (names, name) => names[name] || name.replace(/[_.]/g, " ");
  const clock = (seconds, language) => new Date(seconds * 1000).toLocaleTimeString(language);

  /** A long address in groups of four: a copy of it is the value. */
  function grouped(value) {
    if (value.length <= 16 || /[^!-~]|@/.test(value) || !/[a-z]/i.test(value)) return [value];
    return value.match(/.{1,4}/g).map((part) => make("span", { textContent: part }));
  }

  let sentences;
  function words() {
    sentences ||= fetchOf(ROOT + "client.json", { headers: speak(new Headers()) }).then((answer) => answer.json());
    sentences.catch(() => (sentences = null));
    return sentences;
  }

  /** Sentences over what is typed in. */
  const TYPED = { totp: "totp_label", recovery: "recovery_label" };

  async function dialog(challenge, detail, over) {
    const t = await words();
    const money = challenge.about === "transaction";
    const say = make("p", { role: "status", id: "say" });
    const tellOwner = (text, bad) => {
      say.setAttribute("role", bad ? "alert" : "status");
      say.textContent = text;
      input.ariaInvalid = !!bad;
    };
    const input = make("input", { name: "code", type: "text", required: true, enterKeyHint: "done", id: "code" });
    const label = make("label", { htmlFor: "code" });
    const left = make("span");
    const buttons = [];
    let factor = challenge.factors[0];
    let sentTo = challenge.sent_to;

    const choose = (next) => {
      factor = next;
      const sms = factor === "sms", long = factor === "recovery";
      label.textContent = sms ? filled(t.ui.sms_label, { number: sentTo || "…" }) : t.ui[TYPED[factor]];
      Object.assign(input, {
        autocomplete: long ? "off" : "one-time-code", inputMode: long ? "text" : "numeric", spellcheck: !long,
        pattern: long ? ".*" : "[0-9]{6}|[0-9]{8}", maxLength: long ? 24 : 8, disabled: sms ? !sentTo : !TYPED[factor],
      });
      confirm.hidden = input.hidden = label.hidden = input.disabled;
      sendButton.hidden = !challenge.factors.includes("sms");
      sendButton.textContent = sentTo ? t.ui.sms_resend : t.ui.sms_send;
      others.forEach((it) => (it.hidden = it.value === factor || !challenge.factors.includes(it.value)));
    };
    /** One request at a time, whatever is clicked twice. */
    const once = (work) => async (event) => {
      event.preventDefault();
      buttons.forEach((button) => (button.disabled = true));
      try {
        await work();
      } catch {
        tellOwner(t.unavailable, true);
      }
      buttons.forEach((button) => (button.disabled = false));
    };
    const after = (answer) => {
      if (answer.attempts_left != null) left.textContent = filled(t.ui.attempts_left, { left: answer.attempts_left });
      if (answer.ok && answer.state === "open" && answer.factors) {
        challenge.factors = answer.factors;
        input.value = "";
        choose(answer.factors[0]);
        tellOwner(t.more);
      } else if (!answer.ok) {
        tellOwner(answer.title || t.unavailable, true);
        input.select();
      }
      if (answer.state && answer.state !== "open" && answer.state !== "approved") ended(answer.state);
      input.focus();
    };

    const button = (textContent, more) => make("button", { type: "button", className: "quiet", textContent, ...more });
    const confirm = button(t.ui.submit, { type: "submit", className: "" });
    const sendButton = button("");
    const others = Object.keys(TYPED).map((value) => button(t.ui[TYPED[value]], {
      value, onclick() {
        choose(value);
        input.value = "";
        input.focus();
      },
    }));
    const cancel = button(t.ui.cancel, { onclick: () => box.close() });
    const freeze = make("input", { type: "checkbox" });
    const refuse = button(t.ui.not_me_submit, { className: "danger" });
    buttons.push(confirm, sendButton, refuse);
    sendButton.onclick = once(async () => {
      const answer = await detail.send("sms");
      if (answer.ok) {
        sentTo = answer.sent_to;
        choose("sms");
        tellOwner(filled(t.ui.sms_sent, { number: sentTo }));
        input.focus();
      } else after(answer);
    });
    refuse.onclick = once(async () => {
      const answer = await detail.reject(freeze.checked);
      ended(answer.frozen ? "frozen" : "rejected");
    });
    const form = make("form", { onsubmit: once(async () => after(await detail.answer(factor, input.value.trim()))) },
      label, input, confirm, sendButton, ...others, cancel);

    const title = make("h2", { id: "title",
      textContent: money ? filled(t.ui.transaction_title, { action: named(t.action, challenge.action) }) : t.ui.place_title });
    const lines = challenge.transaction.map((line) =>
      make("div", {}, make("dt", { textContent: named(t.field, line.name) }),
        make("dd", {}, make("bdi", {}, ...grouped(line.value)))));
    if (challenge.address_known === false) {
      lines.push(make("div", {}, make("dt", { textContent: t.ui.address_book }), make("dd", { textContent: t.ui.address_unknown })));
    }
    const device = challenge.device || {};
    const from = [...new Set([challenge.place, challenge.client, device.program, device.system])].filter(Boolean).join(" · ");
    const body = make("div", {},
      make("p", { textContent: money ? t.ui.transaction_intro : t.ui.place_intro }),
      lines.length ? make("dl", {}, ...lines) : null,
      ...challenge.why.map((why) => make("p", { lang: "", textContent: why })),
      make("p", { className: "soft", textContent: `${t.ui.asked_from}: ${from}` }),
      form,
      make("p", { className: "soft" }, left, " ", filled(t.ui.valid_until, { time: clock(challenge.expires_at, t.language) })),
      make("section", {}, make("h3", { textContent: t.ui.not_me }),
        make("p", { textContent: t.ui.not_me_intro }),
        make("label", { className: "check" }, freeze, t.ui.not_me_freeze), refuse));
    left.textContent = filled(t.ui.attempts_left, { left: challenge.attempts_left });
    if (!challenge.factors.length) form.replaceChildren(make("p", { textContent: t.ui.no_factor }), cancel);
    else choose(factor);

    /** What happened is said, and the owner closes it. */
    const ended = (state) => {
      title.textContent = t.state_title[state] || t.state_title.expired;
      body.replaceChildren(make("p", { textContent: t.state_text[state] || t.state_text.expired }), cancel);
      cancel.textContent = t.ui.continue;
      cancel.focus();
      ended.shown = true;
    };
    const box = make("dialog", { className: money ? "transaction" : "place" }, title, say, body);
    box.setAttribute("aria-labelledby", "title");
    box.lang = t.language;
    input.setAttribute("aria-describedby", "say");
    const host = make("stepgate-dialog");
    const shadow = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet];
    shadow.append(box);
    (document.body || document.documentElement).append(host);
    const late = setTimeout(() => ended.shown || ended("expired"), challenge.expires_at * 1000 - Date.now());
    const remove = () => {
      clearTimeout(late);
      box.open && box.close();
      host.remove();
    };
    box.addEventListener("close", () => {
      remove();
      detail.cancel();
    });
    over.addEventListener("abort", remove);
    if (over.aborted) return remove();
    box.showModal();
    if (challenge.factors.includes("webauthn")) import(ROOT + "passkey.js").then((it) => it.offer({ ...detail, challenge }, form, after, t.ui));
    (input.disabled ? sendButton : input).focus();
  }

  // --- fetch

  const idOf = (value) => /^[\w-]{43}$/.test(value) && value;
  const own = (url) => new URL(url, document.baseURI).origin === location.origin;

  window.fetch = async function fetch(input, init) {
    const call = plan(input, init);
    let response = await call.first();
    for (let round = 0; round < ROUNDS; round++) {
      const id = own(response.url || call.url) && idOf(response.headers.get("step-up-challenge"));
      if (!id || !(await ask(call, id))) break;
      const again = call.again();
      if (!again) break;
      if (response.body) response.body.cancel().catch(() => {});
      response = await again;
    }
    call.done();
    return response;
  };

  // --- XMLHttpRequest: an inner one for each round.

  const EVENTS = ["readystatechange", "loadstart", "progress", "abort", "error", "load", "timeout", "loadend"];
  const READS = ["status", "statusText", "response", "responseText", "responseXML", "responseURL"];
  const SETS = ["responseType", "timeout", "withCredentials"];

  class Outer extends EventTarget {
    #inner = new Inner();
    #opened = null;
    #headers = [];
    #mime = null;
    #held = false;
    #round = 0;
    #aborted = false;
    #stop = null;
    constructor() {
      super();
      EVENTS.forEach((kind) => (this["on" + kind] = null));
      this.#listen();
    }
    get readyState() {
      return this.#held ? 1 : this.#inner.readyState;
    }
    get upload() {
      return this.#inner.upload;
    }
    open(...opened) {
      this.#opened = opened;
      this.#headers = [];
      this.#round = 0;
      this.#aborted = false;
      this.#inner.open(...opened);
    }
    setRequestHeader(name, value) {
      this.#inner.setRequestHeader(name, value);
      this.#headers.push([name, value]);
    }
    overrideMimeType(mime) {
      this.#mime = mime;
      this.#inner.overrideMimeType(mime);
    }
    getResponseHeader(name) {
      return this.#held ? null : this.#inner.getResponseHeader(name);
    }
    getAllResponseHeaders() {
      return this.#held ? "" : this.#inner.getAllResponseHeaders();
    }
    abort() {
      this.#aborted = true;
      if (this.#stop) this.#stop.abort();
      if (!this.#held) return this.#inner.abort();
      this.#held = false;
      this.#inner = new Inner();
      ["readystatechange", "abort", "loadend"].forEach((kind) => this.#emit(new ProgressEvent(kind)));
    }
    send(body) {
      // Without events there is nobody to ask.
      if (this.#opened && this.#opened[2] === false) {
        this.#round = ROUNDS;
        return this.#inner.send(body);
      }
      const kept = keep(body);
      if (kept.type && !this.#headers.some(([name]) => /^content-type$/i.test(name))) {
        this.setRequestHeader("Content-Type", kept.type);
      }
      this.#body = kept.body;
      this.#inner.send(kept.body);
    }
    #body;

    #emit(event) {
      const same = event instanceof ProgressEvent
        ? new ProgressEvent(event.type, { lengthComputable: event.lengthComputable, loaded: event.loaded, total: event.total })
        : new Event(event.type);
      const handler = this["on" + event.type];
      // As an attribute's handler: a throw of its does not stop the others.
      if (typeof handler === "function") this.addEventListener(event.type, handler, { once: true });
      this.dispatchEvent(same);
      if (typeof handler === "function") this.removeEventListener(event.type, handler);
    }
    #listen() {
      const inner = this.#inner;
      EVENTS.forEach((kind) =>
        inner.addEventListener(kind, (event) => {
          if (inner !== this.#inner || (this.#round && kind === "loadstart")) return;
          if (kind === "readystatechange" && inner.readyState === 2) this.#held = this.#asks();
          if (kind === "readystatechange" && inner.readyState === 1 && this.#round) return;
          if (!this.#held) return this.#emit(event);
          if (kind === "loadend") this.#ask(inner);
        }));
    }
    #asks() {
      const inner = this.#inner;
      return this.#round < ROUNDS && own(inner.responseURL) && idOf(inner.getResponseHeader("step-up-challenge"));
    }
    async #ask(inner) {
      const stop = (this.#stop = new AbortController());
      const call = { headers: new Headers(this.#headers), omit: false, signal: stop.signal };
      const id = idOf(inner.getResponseHeader("step-up-challenge"));
      const approved = await ask(call, id).catch(() => false);
      if (inner !== this.#inner || this.#aborted) return;
      if (approved) return this.#again(inner);
      // The caller gets the refusal.
      this.#held = false;
      ["readystatechange", "load", "loadend"].forEach((kind) => this.#emit(new ProgressEvent(kind)));
    }
    #again(before) {
      const next = new Inner();
      this.#round += 1;
      this.#inner = next;
      this.#listen();
      next.open(...this.#opened);
      SETS.forEach((name) => (next[name] = before[name]));
      if (this.#mime) next.overrideMimeType(this.#mime);
      this.#headers.forEach(([name, value]) => next.setRequestHeader(name, value));
      next.send(this.#body);
      this.#held = false;
    }
    static {
      READS.forEach((name) =>
        Object.defineProperty(this.prototype, name, {
          configurable: true, enumerable: true,
          get() {
            return (this.#held ? new Inner() : this.#inner)[name];
          },
        }));
      SETS.forEach((name) =>
        Object.defineProperty(this.prototype, name, {
          configurable: true, enumerable: true,
          get() { return this.#inner[name]; },
          set(value) { this.#inner[name] = value; },
        }));
      ["UNSENT", "OPENED", "HEADERS_RECEIVED", "LOADING", "DONE"].forEach((name, value) => {
        [this, this.prototype].forEach((on) => Object.defineProperty(on, name, { value, enumerable: true }));
      });
    }
  }
  Object.defineProperty(Outer, "name", { value: "XMLHttpRequest" });
  window.XMLHttpRequest = Outer;
  window.stepgate = Object.freeze({ version: 1 });
})();
