// Drives the bridge, given as the command line, against servers nobody here wrote. `scripts/interop` prepares and calls it.
import { bridge, check, finish } from './harness.mjs'
import { everything } from './everything.mjs'
import { python, pythonSignIn } from './python.mjs'
import { npmToo, signIn } from './signin.mjs'

if (bridge.length === 0) throw new Error('usage: node run.mjs <command of the bridge>')

const parts = {
  streamableHttp: () => everything('streamableHttp'),
  sse: () => everything('sse'),
  'python-mcp': () => python('python-mcp'),
  'python-fastmcp': () => python('python-fastmcp'),
  'oidc-provider': signIn,
  'npm mcp-remote': npmToo,
  'python-fastmcp sign-in': pythonSignIn,
}
for (const [name, part] of Object.entries(parts)) {
  try {
    if ((await part()) === false) console.log(`--    ${name}: left out, its package is not installed`)
  } catch (error) {
    await check(name, 'starts', () => Promise.reject(error))
  }
}
finish()
