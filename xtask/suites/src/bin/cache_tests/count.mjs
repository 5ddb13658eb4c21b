// Counts the results of http-cache-tests: node count.mjs SUITE RESULTS
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'

const [suite, file] = process.argv.slice(2)
const load = path => import(pathToFileURL(`${suite}/${path}`))
const sets = [...(await load('tests/index.mjs')).default]
if (fs.existsSync(`${suite}/tests/surrogate-control.mjs`)) {
  sets.push((await load('tests/surrogate-control.mjs')).default)
}
const tests = new Map(sets.flatMap(set => set.tests).map(test => [test.id, test]))
const results = JSON.parse(fs.readFileSync(file))

function passed (id) {
  return results[id] === true && (tests.get(id).depends_on || []).every(passed)
}

const counts = {}
const lines = []
let broken = 0
for (const test of tests.values()) {
  if (test.browser_only) continue
  const kind = test.kind || 'required'
  counts[kind] ??= { passed: 0, all: 0 }
  counts[kind].all += 1
  const result = results[test.id]
  if (passed(test.id)) {
    counts[kind].passed += 1
  } else if (kind !== 'check') {
    const why = result === true ? `needs ${test.depends_on.filter(id => !passed(id))}` : result?.join(': ')
    lines.push(`${kind}: ${test.id}: ${why}`)
  }
  if (Array.isArray(result) && !['Assertion', 'Setup'].includes(result[0])) broken += 1
}
for (const kind of ['required', 'optimal', 'check']) {
  const { passed, all } = counts[kind] || { passed: 0, all: 0 }
  lines.push(`${kind}: ${passed} of ${all}`)
}
lines.push(`failures of the harness: ${broken}`)
const { passed: good, all } = counts.required
console.log(JSON.stringify({ text: lines.join('\n') + '\n', failed: all - good + broken }))
