// Drives the bridge, given as the command line, against servers nobody here wrote. `scripts/interop` prepares and calls it.
import { bridge, check, finish } from './harness.mjs'
import { everything } from './everything.mjs'
import { eras } from './eras.mjs'
import { python, pythonSignIn } from './python.mjs'
import { npmToo, signIn } from './signin.mjs'

if (bridge.length === 0) throw new Error('usage: node run.mjs <command of the bridge>')

const parts = {
  streamableHttp: () => everything('streamableHttp'),
  sse: () => everything('sse'),
  'python-mcp': () => python('python-mcp'),
  'python-fastmcp': () => python('python-fastmcp'),
  eras,
  'oidc-provider': signIn,
  'npm mcp-remote': npmToo,
  'python-fastmcp sign-in': pythonSignIn,
}
// PART names the only part to run.
for (const [name, part] of Object.entries(parts).filter(([name]) => [undefined, name].includes(process.env.PART))) {
  try {
    if ((await part()) === false) console.log(`--    ${name}: left out, its package is not installed`)
  } catch (error) {
    await check(name, 'starts', () => Promise.reject(error))
  }
}
finish()
