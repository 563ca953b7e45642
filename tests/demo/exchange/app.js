// A wallet as a single-page application: it sends forms in the background and shows what came back.
const outcome = document.getElementById("outcome");

const byFetch = async (body) => {
  const answer = await fetch("/transfer", { method: "POST", headers: { accept: "application/json" }, body });
  return `${answer.status} ${await answer.text()}`;
};

const byXhr = (body) =>
  new Promise((resolve) => {
    const call = new XMLHttpRequest();
    call.open("POST", "/transfer");
    call.setRequestHeader("accept", "application/json");
    call.onload = () => resolve(`${call.status} ${call.responseText}`);
    call.onerror = () => resolve("no answer");
    call.send(body);
  });

document.getElementById("transfer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = new URLSearchParams(new FormData(event.target));
  outcome.textContent = "…";
  outcome.textContent = await (event.submitter.value === "xhr" ? byXhr : byFetch)(body);
});
