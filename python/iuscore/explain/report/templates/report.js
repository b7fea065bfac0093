"use strict";
// Everything can be read without this script: it sorts tables and galleries, and opens nothing.
function compare(a, b) {
  var x = parseFloat(a.replace("−", "-").replace(/\u202f/g, "")), y = parseFloat(b.replace("−", "-").replace(/\u202f/g, ""));
  if (!isNaN(x) && !isNaN(y)) return x - y;
  if (!isNaN(x)) return -1;
  if (!isNaN(y)) return 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
function textOf(row, place) {
  return row.cells[place].textContent.replace(/^[^\w−.-]*below /, "0 ").replace(/^[✓✗?●○\s]+/, "").trim();
}
document.querySelectorAll("table.sortable").forEach(function (table) {
  var body = table.tBodies[0];
  if (body.rows.length < 2) return;
  Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, place) {
    var button = document.createElement("button"), link = head.querySelector("a");
    button.type = "button";
    button.className = "sort";
    button.textContent = head.textContent;
    button.title = "Sort by this column";
    if (link) {
      var mark = document.createElement("a");
      mark.href = link.getAttribute("href");
      mark.textContent = "?";
      mark.className = "term";
      mark.setAttribute("aria-label", "What is " + head.textContent);
      head.replaceChildren(button, " ", mark);
    } else head.replaceChildren(button);
    button.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending";
      Array.prototype.forEach.call(head.parentNode.cells, function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      var rows = Array.prototype.slice.call(body.rows);
      rows.sort(function (a, b) { return (down ? -1 : 1) * compare(textOf(a, place), textOf(b, place)); });
      body.append.apply(body, rows);
    });
  });
});
document.querySelectorAll(".controls").forEach(function (controls) {
  var list = controls.nextElementSibling, given = Array.prototype.slice.call(list.children);
  var sortBy = controls.querySelector(".sort-by"), only = controls.querySelector(".show-only");
  var turn = controls.querySelector(".turn"), status = controls.querySelector(".status");
  function key(item) { return parseFloat(item.dataset.keys.split(" ")[Number(sortBy.value)]); }
  function update() {
    var up = turn.getAttribute("aria-pressed") === "true", items = given.slice(), n = 0;
    if (sortBy.value !== "") items.sort(function (a, b) {
      var x = key(a), y = key(b);
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return up ? x - y : y - x;
    });
    items.forEach(function (item) {
      var tags = Array.prototype.map.call(item.querySelectorAll(".tag"), function (tag) { return tag.textContent; });
      item.hidden = only.value !== "all" && only.value !== "" && tags.indexOf(only.value) < 0;
      if (!item.hidden) n += 1;
      list.append(item);
    });
    status.textContent = n + " shown";
  }
  sortBy.addEventListener("change", update);
  only.addEventListener("change", update);
  turn.addEventListener("click", function () {
    turn.setAttribute("aria-pressed", String(turn.getAttribute("aria-pressed") !== "true"));
    update();
  });
  controls.hidden = false;
});
