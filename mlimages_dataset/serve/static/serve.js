// What pages do beyond HTML: copying, and suggestions of categories. All of them work without it.
"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  const text = document.getElementById(button.dataset.from);
  const name = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Only secure addresses may write the clipboard: select the text, so that one key copies it.
      getSelection().selectAllChildren(text);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = name; }, 2000);
  });
}

const field = document.querySelector("input[list=suggested]");
if (field) {
  const list = document.getElementById("suggested");
  let waiting = 0;
  let asked = 0;
  const suggest = async () => {
    const number = ++asked;
    const answer = await fetch(`/suggest?q=${encodeURIComponent(field.value)}`);
    if (!answer.ok || number !== asked) return;
    list.replaceChildren(...(await answer.json()).map(({ wnid, name }) => {
      const option = document.createElement("option");
      option.value = wnid;
      option.label = `${name} (${wnid})`;
      return option;
    }));
  };
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    if (field.value.trim().length > 1) waiting = setTimeout(suggest, 150);
  });
}
