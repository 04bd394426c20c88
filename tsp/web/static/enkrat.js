// Small helps on top of pages that work without them. Each looks for its own data attribute.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // One polite voice for screen readers.
  let voice;
  const say = (words) => {
    if (!voice) {
      voice = document.createElement("p");
      voice.className = "unseen";
      voice.setAttribute("role", "status");
      document.body.append(voice);
    }
    voice.textContent = words;
  };

  // data-deadline: seconds that are left. Counts by the clock, so a sleeping tab wakes up right.
  for (const timer of all("[data-deadline]")) {
    const end = Date.now() + Number(timer.dataset.deadline) * 1000;
    const words = timer.dataset.words || "{time}";
    let last = Number(timer.dataset.deadline);
    const show = () => {
      const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      timer.textContent = words.replace("{time}", `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
      timer.classList.toggle("soon", left <= 30);
      for (const moment of [60, 30, 10, 0]) {
        const sentence = timer.getAttribute(`data-say-${moment}`);
        if (last > moment && left <= moment && sentence) say(sentence);
      }
      last = left;
      if (left > 0) return;
      clearInterval(tick);
      all("[data-when-expired]").forEach((e) => { e.hidden = false; });
      all("[data-until-expired]").forEach((e) => { e.hidden = true; });
      document.dispatchEvent(new CustomEvent("deadline"));
    };
    const tick = setInterval(show, 1000);
    show();
    document.addEventListener("visibilitychange", show);
  }

  // data-rules-for: the rules of a new password tick off while it is typed.
  const rules = {
    length: (v, n) => [...v].length >= Number(n || 8),
    lower: (v) => /\p{Ll}/u.test(v),
    upper: (v) => /\p{Lu}/u.test(v),
    digit: (v) => /\p{Nd}/u.test(v),
    special: (v) => /[^\p{L}\p{N}\s]/u.test(v),
  };
  for (const list of all("[data-rules-for]")) {
    const input = document.getElementById(list.dataset.rulesFor);
    if (!input) continue;
    input.addEventListener("input", () => {
      for (const item of all("[data-rule]", list)) {
        const [rule, argument] = item.dataset.rule.split(":");
        if (rules[rule]) item.classList.toggle("met", rules[rule](input.value, argument));
      }
    });
  }

  // data-code: spaces and hyphens go, whether typed or pasted; never more than the code's length.
  for (const input of all("input[data-code]")) {
    const clean = (text) => text.replace(/[\s\-\u2010-\u2015.]/g, "").toUpperCase();
    input.addEventListener("input", (event) => {
      if (event.isComposing) return;
      const tidy = clean(input.value).slice(0, Number(input.dataset.code));
      if (tidy === input.value) return;
      const caret = clean(input.value.slice(0, input.selectionStart)).length;
      input.value = tidy;
      input.setSelectionRange(caret, caret);
    });
  }

  // data-cooldown: a button that sleeps for so many seconds; the server holds the real limit.
  for (const button of all("button[data-cooldown]")) {
    let left = Number(button.dataset.cooldown);
    if (!(left > 0)) continue;
    const label = button.textContent;
    const end = Date.now() + left * 1000;
    button.disabled = true;
    const show = () => {
      left = Math.ceil((end - Date.now()) / 1000);
      if (left > 0) { button.textContent = (button.dataset.wait || "{seconds} s").replace("{seconds}", left); return; }
      clearInterval(tick);
      button.textContent = label;
      button.disabled = false;
    };
    const tick = setInterval(show, 1000);
    show();
  }

  // Only a path of this site is ever followed.
  const follow = (path) => { if (/^\/(?![/\\])/.test(path)) location.assign(path); };

  // data-poll: asks an address until it says where to go on.
  for (const element of all("[data-poll]")) {
    const every = Math.max(1, Number(element.dataset.every || 2)) * 1000;
    let failures = 0;
    const ask = async () => {
      try {
        const answer = await fetch(element.dataset.poll, { headers: { accept: "application/json" }, cache: "no-store" });
        if (!answer.ok) throw new Error(String(answer.status));
        const status = await answer.json();
        failures = 0;
        const text = element.querySelector("[data-poll-text]");
        if (status.text && text && text.textContent !== status.text) text.textContent = status.text;
        if (status.next) { follow(status.next); return; }
        if (status.done) return;
      } catch {
        failures += 1;
      }
      setTimeout(ask, every * Math.min(8, 1 + failures));
    };
    setTimeout(ask, every);
  }

  // data-upload: the form's file is sent with a progress bar; answers are {"next": path} or
  // {"error": sentence, "code": code, "names": what the sentence is about}.
  for (const form of all("form[data-upload]")) {
    const input = form.querySelector("input[type=file]");
    const bar = form.querySelector("progress");
    const error = form.querySelector("[data-upload-error]");
    const button = form.querySelector("button");
    const zone = form.querySelector(".drop");
    if (!input || !bar || !error || !button) continue;
    const list = form.querySelector("[data-upload-names]");
    const fail = (sentence, code = "", names = []) => {
      bar.hidden = true;
      button.disabled = false;
      error.textContent = sentence;
      error.dataset.codeOfError = code;
      error.hidden = false;
      if (list) {
        list.replaceChildren(...names.map((name) => {
          const line = document.createElement("li");
          line.textContent = name;
          return line;
        }));
        list.hidden = !names.length;
      }
      input.setAttribute("aria-invalid", "true");
      input.focus();
    };
    const send = () => {
      const limit = Number(form.dataset.limit || 0);
      error.hidden = true;
      if (list) list.hidden = true;
      input.removeAttribute("aria-invalid");
      if (limit && input.files[0] && input.files[0].size > limit) { fail(form.dataset.tooLarge); return; }
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.setRequestHeader("accept", "application/json");
      request.responseType = "json";
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        bar.max = event.total;
        bar.value = event.loaded;
        if (event.loaded >= event.total) { bar.removeAttribute("value"); say(form.dataset.checking || ""); }
      });
      request.addEventListener("load", () => {
        const answer = request.response || {};
        if (answer.next) follow(answer.next); else fail(answer.error || form.dataset.failed, answer.code, answer.names);
      });
      request.addEventListener("error", () => fail(form.dataset.failed));
      button.disabled = true;
      bar.hidden = false;
      bar.value = 0;
      request.send(new FormData(form));
    };
    form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
    if (!zone) continue;
    for (const kind of ["dragenter", "dragover"]) {
      zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
    }
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      form.requestSubmit();
    });
  }

  // A phone number is written in groups of three while nobody types in it.
  for (const input of all("input[type=tel]")) {
    input.addEventListener("change", () => {
      const digits = input.value.replace(/[\s()/.-]/g, "");
      if (/^\+?[0-9]{6,15}$/.test(digits)) input.value = digits.replace(/([0-9]{3})(?=[0-9])/g, "$1 ");
    });
  }

  // data-once: a second press of the same button does nothing while the first is on its way.
  for (const form of all("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) { event.preventDefault(); return; }
      form.dataset.sent = "yes";
      form.setAttribute("aria-busy", "true");
      const words = event.submitter && event.submitter.dataset.busy;
      if (words) { event.submitter.textContent = words; say(words); }
    });
  }
  // Coming back with the browser's arrow must not find a dead form.
  addEventListener("pageshow", () => {
    for (const form of all("form[data-once]")) { delete form.dataset.sent; form.removeAttribute("aria-busy"); }
  });
})();
