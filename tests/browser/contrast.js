// Each visible text and line of the page with its contrast against what is behind it, by the formula of WCAG 2.

const parse = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
  return { red, green, blue, alpha };
};
const over = (front, back) => {
  const mix = (one, other) => one * front.alpha + other * (1 - front.alpha);
  return { red: mix(front.red, back.red), green: mix(front.green, back.green), blue: mix(front.blue, back.blue), alpha: 1 };
};
const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ({ red, green, blue }) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
const behind = (element) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) layers.push(parse(getComputedStyle(each).backgroundColor));
  return layers.reverse().reduce((back, front) => over(front, back), { red: 255, green: 255, blue: 255, alpha: 1 });
};
const contrast = (color, back) => {
  const [low, high] = [luminance(over(parse(color), back)), luminance(back)].sort((one, other) => one - other);
  return (high + 0.05) / (low + 0.05);
};
const opacity = (element) => {
  let product = 1;
  for (let each = element; each; each = each.parentElement) product *= Number(getComputedStyle(each).opacity);
  return product;
};
const found = [];
const note = (kind, element, color, text) =>
  found.push([kind, opacity(element) === 1 ? contrast(color, behind(element)) : 0, text]);

const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.textContent.trim();
  const parent = walker.currentNode.parentElement;
  if (!text || ["SCRIPT", "NOSCRIPT"].includes(parent.tagName) || !parent.checkVisibility({ visibilityProperty: true })) continue;
  const style = getComputedStyle(parent);
  note("text", parent, parent instanceof SVGElement ? style.fill : style.color, text);
}
for (const input of document.querySelectorAll("input")) {
  note("text", input, getComputedStyle(input, "::placeholder").color, input.placeholder);
  note("line", input.parentElement, getComputedStyle(input).borderTopColor, "border of the input");
}
for (const line of document.querySelectorAll(".line, .base, .icon, .checks svg, .bar rect")) {
  const style = getComputedStyle(line);
  const isFilled = line.matches(".bar rect");
  note("line", line, isFilled ? style.fill : style.stroke, line.getAttribute("class") ?? "bar");
}
return found;
