// Looks at every page of the built book in a headless browser, from the folder, as an offline reader
// would: light and dark, wide and phone-narrow. Fails on an axe violation, a failed request, a request
// to another host, a console error, a page wider than its window, or a Chinese term that search misses.
//
//   node tools/web_check.mjs [--html book/_build/html] [--shots book/_build/shots] [page ...]
//
// Needs node and a Chromium (CHROMIUM names another program). The two packages below are installed once
// into .cache/web.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const PACKAGES = { "playwright-core": "1.65.1", "axe-core": "4.14.1" };
const WIDTHS = { wide: 1400, phone: 375 };
const SCHEMES = ["light", "dark"];
const TERMS = ["生均公用经费", "县管校聘", "强镇筑基"];

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const options = { html: "book/_build/html", shots: "book/_build/shots" };
const only = [];
for (let i = 2; i < process.argv.length; i++) {
  const name = process.argv[i].replace(/^--/, "");
  if (name in options && process.argv[i].startsWith("--")) options[name] = process.argv[++i];
  else only.push(process.argv[i]);
}
const html = path.resolve(root, options.html);
const shots = path.resolve(root, options.shots);

function stop(message) {
  console.error(`web check: ${message}`);
  process.exit(2);
}

function packages() {
  const home = path.join(root, ".cache", "web");
  const version = (name) => {
    const file = path.join(home, "node_modules", name, "package.json");
    return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : null;
  };
  const missing = Object.entries(PACKAGES).filter(([name, wanted]) => version(name) !== wanted);
  if (missing.length) {
    mkdirSync(home, { recursive: true });
    const wanted = missing.map(([name, pinned]) => `${name}@${pinned}`);
    try {
      execFileSync(
        "npm",
        ["install", "--prefix", home, "--no-save", "--no-package-lock", "--no-audit", "--no-fund",
         "--ignore-scripts", ...Object.entries(PACKAGES).map(([n, v]) => `${n}@${v}`)],
        { stdio: ["ignore", "ignore", "inherit"] },
      );
    } catch {
      stop(`npm could not install ${wanted.join(", ")}; it is needed once, with a network`);
    }
  }
  const require = createRequire(path.join(home, "index.js"));
  return {
    chromium: require("playwright-core").chromium,
    axe: readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"),
  };
}

function browserProgram() {
  const names = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"];
  const found = names.find((name) => name && existsSync(name));
  return found ?? stop("no Chromium found; install one, or name it in CHROMIUM");
}

function allPages() {
  const pages = [];
  const walk = (folder) => {
    for (const entry of readdirSync(path.join(html, folder), { withFileTypes: true })) {
      const name = path.join(folder, entry.name);
      if (entry.isDirectory() && !entry.name.startsWith("_")) walk(name);
      else if (entry.name.endsWith(".html") && name !== "index.html") pages.push(name);
    }
  };
  walk("");
  return pages.sort();
}

function listen(page, problems) {
  page.on("pageerror", (error) => problems.push(`script error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console error: ${message.text()}`);
  });
  page.on("requestfailed", (request) => problems.push(`failed request: ${request.url()}`));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) problems.push(`other host: ${request.url()}`);
  });
}

async function look(browser, axe, name, scheme, width) {
  const context = await browser.newContext({
    viewport: { width: WIDTHS[width], height: 900 },
    colorScheme: scheme,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const problems = [];
  listen(page, problems);
  await page.goto(pathToFileURL(path.join(html, name)).href, { waitUntil: "load" });
  await page.evaluate(async () => {
    await document.fonts.ready;
    if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;
  });
  await page.waitForTimeout(150);
  const shot = `${name.replace(/\.html$/, "").replaceAll(path.sep, "_")}.${scheme}.${width}.png`;
  await page.screenshot({ path: path.join(shots, shot), fullPage: true });

  const wider = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return null;
    const contained = (element) => {
      for (let box = element.parentElement; box !== document.body; box = box.parentElement) {
        if (getComputedStyle(box).overflowX !== "visible") return true;
      }
      return false;
    };
    const guilty = [...document.querySelectorAll("main *")].filter(
      (element) => element.getBoundingClientRect().right > room + 1 && !contained(element),
    );
    return guilty.slice(0, 3).map((element) => element.outerHTML.slice(0, 120)).join(" | ") || "unknown element";
  });
  if (wider) problems.push(`wider than the window: ${wider}`);

  await page.addScriptTag({ content: axe });
  const result = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const violation of result.violations) {
    const where = violation.nodes.slice(0, 3).map((n) => n.html.slice(0, 140).replace(/\s+/g, " "));
    problems.push(
      `axe ${violation.impact} ${violation.id} (${violation.nodes.length}): ${where.join(" | ")}`,
    );
  }
  await context.close();
  return problems;
}

async function search(browser, term) {
  const page = await browser.newPage();
  const address = pathToFileURL(path.join(html, "search.html"));
  address.searchParams.set("q", term);
  await page.goto(address.href, { waitUntil: "load" });
  try {
    await page.waitForSelector("#search-results li a", { timeout: 10000 });
    return [];
  } catch {
    return [`search does not find ${term}`];
  } finally {
    await page.close();
  }
}

if (!existsSync(path.join(html, "book", "index.html"))) stop("the book is not built; run make book");
const { chromium, axe } = packages();
mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: browserProgram(),
  args: ["--no-sandbox", "--allow-file-access-from-files"],
});
let bad = 0;
let looks = 0;
const report = (title, problems) => {
  bad += problems.length;
  if (problems.length) console.log(`${title}\n  ${[...new Set(problems)].join("\n  ")}`);
};
for (const name of only.length ? only : allPages()) {
  for (const scheme of SCHEMES) {
    for (const width of Object.keys(WIDTHS)) {
      looks += 1;
      report(`${name} ${scheme} ${width}`, await look(browser, axe, name, scheme, width));
    }
  }
}
if (!only.length) for (const term of TERMS) report("search.html", await search(browser, term));
await browser.close();
console.log(`web check: ${looks} looks, ${bad} problems; screenshots in ${path.relative(root, shots)}`);
process.exit(bad ? 1 : 0);
