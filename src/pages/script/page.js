// What a page of the gateway's can do better with a script: times as the reader's clock shows them, the name of a
// country, the time that is left, counted down for the eye and said once for the ear; and a button that is pressed twice
// is pressed once. It keeps and sends nothing, and every page works without it.
(() => {
  "use strict";
  const language = document.documentElement.lang;
  const FORMATS = { clock: { timeStyle: "medium" }, date: { dateStyle: "long", timeStyle: "medium" } };
  for (const time of document.querySelectorAll("time")) {
    const format = FORMATS[time.className];
    const at = new Date(time.dateTime);
    if (format && !isNaN(at)) time.textContent = new Intl.DateTimeFormat(language, format).format(at);
  }
  for (const place of document.querySelectorAll("[data-country]")) {
    const name = new Intl.DisplayNames(language, { type: "region", fallback: "none" }).of(place.dataset.country);
    if (name) place.textContent = name;
  }
  // Apps and messages write codes as "123 456"; a code is its digits.
  const code = document.getElementById("code");
  if (code) {
    code.addEventListener("paste", (event) => {
      event.preventDefault();
      code.value = event.clipboardData.getData("text").replace(/\s/g, "").slice(0, 8);
    });
  }

  // A question that answers a form has an address of its own. With it in the history, going back and loading anew
  // look at the question again, and send nothing a second time.
  const own = "/.stepgate/challenge/";
  const [, posted] = location.pathname.match(/^(\/\.stepgate\/challenge\/[\w-]+)\/\w+$/) || [];
  const form = document.querySelector(`main.transaction form[action^="${own}"]`);
  const address = posted || (form && form.getAttribute("action").replace(/\/\w+$/, ""));
  if (address && location.pathname !== address) history.replaceState(null, "", address);
  // A second click while the first one is on its way does nothing.
  let sent = false;
  document.addEventListener("submit", (event) => (sent ? event.preventDefault() : (sent = true)));
  addEventListener("pageshow", (event) => {
    sent = false;
    // Taken out of memory by the back button: how things stood then is not how they stand now.
    if (event.persisted) location.reload();
  });

  const left = document.querySelector("[data-until]");
  if (!left) return;
  const until = Date.parse(left.dataset.until);
  const status = document.getElementById("time-left");
  const two = (number) => String(number).padStart(2, "0");
  const written = (seconds) =>
    (seconds >= 3600 ? Math.floor(seconds / 3600) + ":" + two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)) +
    ":" + two(seconds % 60);
  // One word a minute before the end, one at the end, and no more: a voice that counts cannot be worked with.
  const say = (text) => status && text && status.textContent !== text && (status.textContent = text);
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000);
    if (seconds <= 0) {
      left.textContent = "";
      say(left.dataset.over);
      return;
    }
    left.textContent = written(seconds);
    if (seconds <= 60) say(left.dataset.minute);
    setTimeout(tick, 1000);
  };
  tick();
})();
