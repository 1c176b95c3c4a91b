// What every part of the interoperability run needs: child processes that never outlive it, checks that always end,
// and the SDK's client joined to the bridge over stdio.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js'

const CHECK_LIMIT = 20_000
const RUN_LIMIT = 300_000

/** The command that starts the bridge; the server's URL and flags are appended. */
export const bridge = process.argv.slice(2)

const children = new Set()
// The bridge must neither read nor leave anything in the user's own directory.
const temporary = mkdtempSync(join(tmpdir(), 'mcp-remote-interop-'))
let passed = 0
let failed = 0

process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(temporary, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1))
setTimeout(() => {
  console.log(`FAIL  the whole run took longer than ${RUN_LIMIT / 1000} s`)
  process.exit(1)
}, RUN_LIMIT).unref()

/** Ends with the promise, or fails after the time. */
export function within(promise, ms = CHECK_LIMIT) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms / 1000} s`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** A new empty directory, removed at the end. */
export const directory = () => mkdtempSync(join(temporary, 'home-'))

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits until the condition gives something, and returns that. */
export async function until(condition, what, ms = 10_000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const value = condition()
    if (value) return value
  }
  throw new Error(`${what}: not within ${ms / 1000} s`)
}

/** Runs and reports one check. The next check runs whatever this one came to. */
export async function check(part, name, body) {
  try {
    await within(body())
    passed += 1
    console.log(`ok    ${part}: ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL  ${part}: ${name}\n      ${String(error?.message ?? error).slice(0, 600)}`)
  }
}

/** Prints the closing line and ends the process. */
export function finish() {
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed === 0 && passed > 0 ? 0 : 1)
}

/** Starts a server and waits for the line that tells its port. What it prints is kept, for checks and for a person. */
export async function startServer(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  const server = {
    output: '',
    /** How often the server printed this. */
    count: (text) => server.output.split(text).length - 1,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill('SIGKILL')
      }),
  }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (server.output += data))
  child.once('exit', () => children.delete(child))
  child.once('error', (error) => (server.output += error))
  const started = until(() => server.output.match(/(?:listening on port |running on http:\/\/[^:]+:)(\d+)/), 'the port', 60_000)
  const [, port] = await started.catch((error) => {
    throw new Error(`${command} ${args.join(' ')}: ${error.message}\n${server.output.slice(-1000)}`)
  })
  return Object.assign(server, { port: Number(port) })
}

/**
 * Connects the SDK's client through the bridge. It declares every capability and answers what servers ask: `answers`
 * holds the answers, which a check may change; `asked` collects the requests, `received` every message. `env` is added
 * to the environment; `command` names another bridge.
 */
export async function connect(url, flags = [], { command = bridge, env = {} } = {}) {
  const transport = new StdioClientTransport({
    command: command[0],
    args: [...command.slice(1), url, ...flags],
    env: { MCP_REMOTE_CONFIG_DIR: temporary, ...env },
    stderr: 'pipe',
  })
  const capabilities = {
    sampling: {},
    elicitation: { form: {}, url: {} },
    roots: { listChanged: true },
  }
  const client = new Client({ name: 'interop', version: '1' }, { capabilities })
  const answers = {
    sampling: { model: 'interop-model', role: 'assistant', content: { type: 'text', text: 'sampled text' } },
    elicitation: { action: 'decline' },
    roots: { roots: [] },
  }
  const asked = []
  const answer = (kind) => async (request) => {
    asked.push(request)
    return answers[kind]
  }
  client.setRequestHandler(CreateMessageRequestSchema, answer('sampling'))
  client.setRequestHandler(ElicitRequestSchema, answer('elicitation'))
  client.setRequestHandler(ListRootsRequestSchema, answer('roots'))

  const session = { client, answers, asked, received: [], stderr: '' }
  // Every message in the order of the wire; the SDK's own handlers may run in another.
  transport.onmessage = (message) => session.received.push({ ...message, at: Date.now() })
  transport.stderr.on('data', (data) => (session.stderr += data))
  const connecting = client.connect(transport, { timeout: CHECK_LIMIT })
  // The SDK keeps the process to itself, but only its exit tells whether the bridge left by itself and how.
  await until(() => transport._process, 'the bridge process')
  const child = transport._process
  children.add(child)
  const exit = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  exit.then(() => children.delete(child))
  try {
    await connecting
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${error.message}; the bridge said: ${session.stderr.slice(-500)}`)
  }

  /** The messages the server has sent with this method. */
  session.sent = (method) => session.received.filter((message) => message.method === method)
  session.notified = (method) => until(() => session.sent(method)[0], method)
  session.call = (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, undefined, { timeout: CHECK_LIMIT, ...options })
  session.text = async (name, args, options) => (await session.call(name, args, options)).content[0].text
  /** Closes stdin, waits, and says how the bridge left. The SDK sends SIGTERM after two seconds. */
  session.close = async () => {
    const began = Date.now()
    await client.close()
    return { ...(await exit), ms: Date.now() - began }
  }
  return session
}
