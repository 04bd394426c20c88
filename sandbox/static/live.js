// Shows new messages without pressing reload: waits at the server for one newer than the page's newest.
"use strict";

async function waitForNews() {
  const { newest, to } = document.body.dataset;
  const query = new URLSearchParams({ to, after: newest, wait: "25" });
  for (;;) {
    const answer = await fetch(`/api/messages?${query}`);
    if (!answer.ok) return;
    if ((await answer.json()).length > 0) {
      location.reload();
      return;
    }
  }
}

waitForNews().catch(() => {}); // the server has ended; reloading by hand still works
