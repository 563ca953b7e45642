// Passkeys: asks the gateway what is to be signed, lets the browser have it signed, and hands the answer on. For the
// gateway's own page, where the answer goes out with the page's form; and for the dialog of client.js, which loads this
// when it needs it. It keeps nothing, and sends nothing but to the gateway.

const bytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const listed = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

const supported = () => !!(window.PublicKeyCredential && navigator.credentials);

/** Lets a passkey sign, or makes one where the gateway's options name a user. What comes of it is as it is posted. */
async function ask(publicKey, signal) {
  const options = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (publicKey.user) {
    options.user = { ...publicKey.user, id: bytes(publicKey.user.id) };
    options.excludeCredentials = listed(publicKey.excludeCredentials);
  } else {
    options.allowCredentials = listed(publicKey.allowCredentials);
  }
  const how = publicKey.user ? "create" : "get";
  const { id, type, rawId, response } = await navigator.credentials[how]({ publicKey: options, signal });
  const parts = ["clientDataJSON", "attestationObject", "authenticatorData", "signature"];
  const own = publicKey.user ? parts.slice(0, 2) : parts.filter((name) => name !== "attestationObject");
  return {
    id, type, rawId: text(rawId),
    response: Object.fromEntries(own.map((name) => [name, text(response[name])])),
  };
}

/** Which sentence says why a browser gave no answer: its owner may have closed its dialog, or it timed out. */
const why = (error) =>
  ({ NotAllowedError: "passkey_not_given", AbortError: "passkey_not_given", InvalidStateError: "passkey_known" })[error.name] ||
  "passkey_failed";

/** The page's own form. */
function page(form) {
  const button = form.querySelector("button");
  const said = form.querySelector("[role=alert]");
  const sentences = JSON.parse(form.dataset.sentences);
  if (!supported()) {
    said.textContent = sentences.passkey_unsupported;
    return;
  }
  button.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    said.textContent = "";
    try {
      const headers = {
        accept: "application/json", "content-type": "application/json",
        "accept-language": document.documentElement.lang,
      };
      const body = JSON.stringify({ factor: "webauthn" });
      const init = { method: "POST", headers, body, cache: "no-store", redirect: "error" };
      const answer = await fetch(form.dataset.send, init);
      const asked = await answer.json();
      if (asked.publicKey) {
        form.elements.assertion.value = JSON.stringify(await ask(asked.publicKey));
        form.submit();
        return;
      }
      // What has ended has a page of its own.
      if (asked.state && asked.state !== "open") location.reload();
      else said.textContent = asked.detail || asked.title || sentences.passkey_failed;
    } catch (error) {
      said.textContent = sentences[why(error)];
    }
    button.disabled = false;
  });
}

/** The same in the dialog of client.js: `detail` is its question, `after` takes an answer of the gateway's. */
export function offer(detail, form, after, sentences) {
  const said = document.createElement("p");
  said.setAttribute("role", "alert");
  form.append(said);
  if (!supported()) {
    said.textContent = sentences.passkey_unsupported;
    return;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = sentences.passkey_use;
  button.onclick = async () => {
    if (button.disabled) return;
    button.disabled = true;
    said.textContent = "";
    try {
      const asked = await detail.send("webauthn");
      if (asked.publicKey) after(await detail.answer("webauthn", await ask(asked.publicKey, detail.signal)));
      else after(asked);
    } catch (error) {
      said.textContent = sentences[why(error)];
    }
    button.disabled = false;
    button.hidden = !detail.challenge.factors.includes("webauthn");
  };
  form.prepend(button);
  if (detail.challenge.factors.length === 1) button.focus();
}

const form = document.getElementById("passkey");
if (form) page(form);
