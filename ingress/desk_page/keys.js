// Single keys for what the mouse can do. They never fire while somebody types, and can be switched off.

export const KEYS = [
  ["r", "Ready or away", "presence"],
  ["a", "Answer who waits longest", "answer"],
  ["m", "Mute, unmute", "mute"],
  ["h", "Hold, resume", "hold"],
  ["t", "Transfer, then a number", "transfer"],
  ["e", "End the call, or stop listening", "end"],
  ["n", "Write the note; Esc leaves it", "note-text"],
  ["d", "Done with an ended call", "done"],
  ["?", "Show these keys", "keys"],
];

const TYPING = "input:not([type=checkbox]), textarea, select, [contenteditable]";

/** Presses the button of each key; `isOn` tells whether the agent wants that. */
export function listenToKeys(isOn) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const dialog = document.querySelector("dialog[open]");
    if (event.target.matches?.(TYPING) || (!isOn() && event.key !== "?")) return;
    const pressed = dialog ? choice(dialog, event.key) : button(event.key.toLowerCase());
    if (!pressed) return;
    event.preventDefault(); // or the letter lands in the note
    if (pressed.matches("textarea")) pressed.focus();
    else pressed.click();
  });
}

function button(key) {
  const found = document.getElementById(KEYS.find(([each]) => each === key)?.[2]);
  const there = found?.checkVisibility() || key === "?"; // whose button has no room on a narrow screen
  return there && !found.disabled ? found : null;
}

function choice(dialog, key) {
  return /^[1-9]$/.test(key) ? dialog.querySelector(`button[data-number="${key}"]:not(:disabled)`) : null;
}
