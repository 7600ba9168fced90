// Light, dark, or as the system has it: the choice is kept on this device.

const KEPT = "sensedict-theme";
const CHOICES = { auto: "As the system", light: "Light", dark: "Dark" };

function chosen() {
  const kept = localStorage.getItem(KEPT);
  return kept in CHOICES ? kept : "auto";
}

function show() {
  const choice = chosen();
  document.documentElement.dataset.theme = choice;
  const button = document.getElementById("theme");
  button.textContent = { auto: "◐", light: "☀︎", dark: "☾" }[choice];
  button.setAttribute("aria-label", `Colours: ${CHOICES[choice]}`);
  button.title = `Colours: ${CHOICES[choice]}`;
}

document.getElementById("theme").addEventListener("click", () => {
  const names = Object.keys(CHOICES);
  localStorage.setItem(KEPT, names[(names.indexOf(chosen()) + 1) % names.length]);
  show();
});
show();
