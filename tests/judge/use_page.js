// Uses the page of a report as a reader would, and returns what there is to see.
(async () => {
  const rows = () => [...document.querySelectorAll("#rows tr")];
  const cell = (row, name) => row.querySelector("." + name);
  const texts = (name) => rows().map((row) => cell(row, name).textContent);
  const click = (selector) => document.querySelector(selector).click();
  const boxes = [...document.querySelectorAll("[type=checkbox]")];
  const settle = () => new Promise((done) => setTimeout(done, 20));
  const enter = (id, value) => {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const count = () => document.querySelector("#count").textContent;
  const more = document.querySelector("#more");
  const scrollToEnd = async () => {
    for (let tries = 0; tries < 500 && !more.hidden; tries++) {
      scrollTo(0, document.documentElement.scrollHeight);
      await settle();
    }
  };
  const marks = () => rows().map((row) => Object.fromEntries([...row.cells].map((each) =>
    [each.className, [...each.querySelectorAll("ins, del")].map((mark) => mark.textContent)])));
  const isText = (node) => node.nodeType === Node.TEXT_NODE;
  const kept = () => rows().map((row) => Object.fromEntries([...row.cells].map((each) => [each.className,
    [...each.querySelectorAll("p")].map((text) => [...text.childNodes].map((node) => isText(node) ? node.data : " ").join(""))])));

  const found = { width: innerWidth, overflow: document.documentElement.scrollWidth - innerWidth, title: document.title };
  found.dark = getComputedStyle(document.body).backgroundColor !== "rgb(255, 255, 255)";
  found.images = document.images.length;
  found.first = [rows().length, count(), texts("chrf")];
  await scrollToEnd();
  found.all = [rows().length, more.hidden];
  click(".line button");
  const sorted = [...document.querySelectorAll("[aria-sort]")].map((th) => [th.className, th.getAttribute("aria-sort")]);
  found.sorted = [sorted, texts("line")];
  await scrollToEnd();
  found.rows = Object.fromEntries(["src", "refs", "tgt", "baseline"].map((name) => [name, texts(name)]));
  found.marks = marks();
  found.kept = kept();
  found.direction = rows().map((row) => getComputedStyle(cell(row, "tgt").firstChild).direction);
  enter("marks", "baseline");
  found.between = kept();
  enter("marks", "");
  found.unmarked = document.querySelectorAll("#rows ins, #rows del").length;
  click(".change button");
  click(".change button");
  found.change = [texts("change")[0], document.querySelector(".change").getAttribute("aria-sort")];
  found.searches = ["hUnD", "</SCRIPT>", "كبير", "no such text"].map((text) => (enter("search", text), count()));
  enter("search", "");
  found.filters = boxes.map((box) => {
    box.click();
    const counted = [box.parentElement.textContent.trim(), count()];
    box.click();
    return counted;
  });
  const box = (name) => boxes.find((each) => each.parentElement.textContent.trim().startsWith(name));
  ["copies", "loops"].forEach((name) => box(name).click());
  found.either = [count(), texts("line")];
  box("worse").click();
  found.both = texts("line");
  return found;
})()
