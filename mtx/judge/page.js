"use strict";
// Sorts, searches and filters the sentences of a report, and marks the words in which translations differ.
// All text is put into the page by textContent, so none becomes markup.

const BATCH = 25; // Rows added at a time, when the reader scrolls near the end
const MOST_CELLS = 1e6; // Words of one text times words of the other up to which their order is compared
const SPACELESS = "Hani Hira Kana Thai Laoo Mymr Khmr Tibt Java Bali Lana Talu Tale Tavt Ahom".replace(/(\w+) ?/g, "\\p{sc=$1}");
const LETTER = `(?:(?![${SPACELESS}])[\\p{L}\\p{M}\\p{N}])`;
// Words with their inner hyphens and apostrophes; single characters of scripts without spaces, and other characters
const TOKEN = new RegExp(`${LETTER}+(?:[-'’.,]${LETTER}+)*|\\s+|.\\p{M}*`, "gsu");

const find = (selector) => document.querySelector(selector);
const sentences = JSON.parse(find("#sentences").textContent);
const columns = [...document.querySelectorAll("#table th")].map((th) => [th.className, th.textContent]);
const NUMBERS = ["line", "chrf", "change"];
let order = { key: "chrf", sign: 1 };
let shown = []; // Sentences that pass the filters, in order
let numRows = 0;

sentences.forEach((sentence, index) => (sentence.index = index));

function element(name, className, children = []) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Search text of a sentence, made once. */
function searchText(sentence) {
  const { src, refs, tgt, baseline = "" } = sentence;
  return (sentence.text ??= [src, ...refs, tgt, baseline].join("\n").toLowerCase());
}

function sortKey(sentence, name) {
  if (name === "line" || name === "set") return sentence.index;
  if (NUMBERS.includes(name)) return sentence[name];
  return name === "refs" ? sentence.refs[0].length : sentence[name].length;
}

/** Show the sentences that the search and, in each group with a ticked filter, one of these let through. */
function update() {
  const wanted = find("#search").value.trim().toLowerCase();
  const groups = [...document.querySelectorAll("fieldset")]
    .map((group) => [...group.querySelectorAll(":checked")].map((box) => Number(box.value)))
    .filter((ticked) => ticked.length);
  shown = sentences.filter(
    (sentence) =>
      groups.every((ticked) => ticked.some((tag) => sentence.tags.includes(tag))) &&
      (!wanted || searchText(sentence).includes(wanted)),
  );
  const { key, sign } = order;
  shown.sort((one, other) => sign * (sortKey(one, key) - sortKey(other, key)));
  const [part, all] = [shown.length.toLocaleString("en"), sentences.length.toLocaleString("en")];
  find("#count").textContent = part === all ? `${all} sentences.` : `${part} of ${all} sentences.`;
  find("#rows").replaceChildren();
  numRows = 0;
  showMore();
}

function showMore() {
  const batch = shown.slice(numRows, numRows + BATCH);
  numRows += batch.length;
  const marks = find("#marks").value;
  find("#rows").append(...batch.map((sentence) => row(sentence, marks)));
  find("#more").hidden = numRows === shown.length;
}

function row(sentence, marks) {
  const texts = markedTexts(sentence, marks);
  const cells = columns.map(([name, title]) => {
    const cell = element("td", name);
    cell.dataset.title = title;
    if (NUMBERS.includes(name)) {
      const number = sentence[name];
      cell.textContent = name === "line" ? number.toLocaleString("en") : number.toFixed(1).replace(/^-0\.0$/, "0.0");
      if (name === "change" && number > 0) cell.prepend("+");
      return cell;
    }
    for (const parts of texts[name]) {
      const text = element("p", "", parts);
      text.dir = "auto";
      cell.append(text);
    }
    if (name === "tgt") cell.append(...sentence.flags.map((flag) => element("span", "flag", [flag])));
    return cell;
  });
  return element("tr", "", cells);
}

/** The texts of a sentence by column, each as a list of strings and marks. */
function markedTexts({ set, src, refs, tgt, baseline }, marks) {
  const texts = { set: [[set]], src: [[src]], refs: refs.map((text) => [text]), tgt: [[tgt]], baseline: [[baseline ?? ""]] };
  if (marks === "baseline") {
    const [theirs, ours] = compare(baseline, tgt);
    return { ...texts, tgt: [marked(tgt, ours, "ins")], baseline: [marked(baseline, theirs, "del")] };
  }
  if (marks === "refs") {
    const [best, ofBest, ours] = nearest(refs, tgt);
    texts.refs[best] = marked(refs[best], ofBest, "del");
    texts.tgt = [marked(tgt, ours, "ins")];
    if (baseline !== undefined) texts.baseline = [marked(baseline, nearest(refs, baseline)[2], "ins")];
  }
  return texts;
}

/** The reference that shares most words with a text: its number, and for both whether each token is shared. */
function nearest(refs, text) {
  const found = refs.map((ref, index) => [index, ...compare(ref, text)]);
  const numShared = ([, , shared]) => shared.filter(Boolean).length;
  return found.reduce((best, other) => (numShared(other) > numShared(best) ? other : best));
}

const tokens = (text) => text.match(TOKEN) ?? [];
const isSpace = (token) => !token.trim();

/** Whether each token of two texts is in their longest common subsequence of words. */
function compare(one, other) {
  const [a, b] = [tokens(one), tokens(other)];
  const [sharedA, sharedB] = [a.map(isSpace), b.map(isSpace)];
  const [wordsA, wordsB] = [a, b].map((all) => [...all.keys()].filter((index) => !isSpace(all[index])));
  if (wordsA.length * wordsB.length > MOST_CELLS) { // too long to compare in order
    const [setA, setB] = [new Set(a), new Set(b)];
    return [a.map((token) => isSpace(token) || setB.has(token)), b.map((token) => isSpace(token) || setA.has(token))];
  }
  const width = wordsB.length + 1;
  const lengths = new Uint16Array((wordsA.length + 1) * width); // of the subsequences of what follows
  for (let i = wordsA.length - 1; i >= 0; i--) {
    for (let j = wordsB.length - 1; j >= 0; j--) {
      const [below, right] = [lengths[(i + 1) * width + j], lengths[i * width + j + 1]];
      const isSame = a[wordsA[i]] === b[wordsB[j]];
      lengths[i * width + j] = isSame ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(below, right);
    }
  }
  for (let i = 0, j = 0; i < wordsA.length && j < wordsB.length; ) {
    if (a[wordsA[i]] === b[wordsB[j]]) sharedA[wordsA[i++]] = sharedB[wordsB[j++]] = true;
    else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i++;
    else j++;
  }
  return [sharedA, sharedB];
}

/** A text with an element `name` around each stretch of words that are not shared. */
function marked(text, shared, name) {
  const parts = [];
  let [plain, mark, space] = ["", "", ""]; // space: what may join two marked words
  const close = () => {
    if (mark) parts.push(element(name, "", [mark]));
    [mark, plain, space] = ["", plain + space, ""];
  };
  tokens(text).forEach((token, index) => {
    if (!shared[index]) {
      if (plain) parts.push(plain);
      [plain, mark, space] = ["", mark + space + token, ""];
    } else if (mark && isSpace(token)) space += token;
    else {
      close();
      plain += token;
    }
  });
  close();
  return plain ? [...parts, plain] : parts;
}

function sortBy(button) {
  const th = button.parentElement;
  const sign = th.ariaSort === "ascending" ? -1 : 1;
  document.querySelectorAll("#table th").forEach((each) => each.removeAttribute("aria-sort"));
  th.ariaSort = sign > 0 ? "ascending" : "descending";
  order = { key: button.value, sign };
  update();
}

document.querySelectorAll("#table th button").forEach((button) => button.addEventListener("click", () => sortBy(button)));
find(".controls").addEventListener("input", update);
find("#more").addEventListener("click", showMore);
addEventListener("beforeprint", () => {
  while (numRows < shown.length) showMore();
});
update();
const observer = new IntersectionObserver(
  ([{ isIntersecting, target }]) => {
    if (!isIntersecting) return;
    showMore();
    observer.unobserve(target); // and again, to learn whether it is still near
    observer.observe(target);
  },
  { rootMargin: "800px" },
);
observer.observe(find("#more"));
setTimeout(() => sentences.forEach(searchText), 100); // after the first paint, before the first search
