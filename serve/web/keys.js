// The keyboard: every act of the mouse has a key. Single keys can be switched off (WCAG 2.1.4).

const OFF = "amir.keys-off";

export const keysAreOn = () => localStorage.getItem(OFF) === null;

export function switchKeys(on) {
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
}

/** acts: key, as KeyboardEvent.key has it in lower case, to what it does with the event. */
export function listenToKeys(acts) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (!keysAreOn() || usesKeysItself(event.target, event.key)) return;
    const act = acts[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act(event);
  });
}

function usesKeysItself(target, key) {
  if (target.matches("input, select, textarea")) return true;
  return target.matches("button, a, summary, label") && [" ", "Enter"].includes(key);
}
