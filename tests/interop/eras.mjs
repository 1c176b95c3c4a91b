// Clients and servers of both protocol eras, with the software each era is spoken with: the SDK of either generation and
// Python's `mcp`. Each client goes through the same list at each server.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { bridge, check, connect, directory, sleep, startServer, until, within } from './harness.mjs'
import { interpreterOf, local } from './python.mjs'

const MODERN = '2026-07-28'
const URI = 'text://one'
const CHANGED = 'notifications/tools/list_changed'
const UPDATED = 'notifications/resources/updated'

/** The older SDK's client, with what the list below needs of it. */
async function v1(url, flags) {
  const session = await connect(url, flags)
  session.answers.elicitation = { action: 'accept', content: { name: 'Ada' } }
  session.answers.roots = { roots: [{ uri: 'file:///first', name: 'first' }] }
  const { client } = session
  return {
    client,
    version: session.received[0].result.protocolVersion,
    text: session.text,
    call: (name, options) => session.call(name, {}, options),
    listen: () => client.subscribeResource({ uri: URI }),
    notified: session.notified,
    leave: async () => assert.equal((await session.close()).code, 0),
  }
}

/** The newer SDK's client. In the mode `auto` it finds out the era by itself. */
async function v2(url, flags, { mode = 'auto', store = directory() } = {}) {
  const transport = new StdioClientTransport({
    command: bridge[0],
    args: [...bridge.slice(1), url, ...flags],
    env: { ...process.env, MCP_REMOTE_CONFIG_DIR: store },
    stderr: 'pipe',
  })
  const capabilities = { sampling: {}, elicitation: { form: {} }, roots: {} }
  const client = new Client({ name: 'interop', version: '2' }, { capabilities, versionNegotiation: { mode } })
  client.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled text' } }))
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }))
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///first', name: 'first' }] }))
  const notes = []
  for (const method of [CHANGED, UPDATED]) client.setNotificationHandler(method, (note) => void notes.push(note.method))
  await client.connect(transport)
  const call = (name, options, args = {}) => client.callTool({ name, arguments: args }, options)
  const version = client.getNegotiatedProtocolVersion()
  return {
    client,
    version,
    text: async (name, args, options) => (await call(name, options, args)).content[0].text,
    call,
    listen: () =>
      version === MODERN
        ? client.listen({ toolsListChanged: true, resourceSubscriptions: [URI] })
        : client.subscribeResource({ uri: URI }),
    notified: (method) => until(() => notes.includes(method), method),
    leave: () => client.close(),
  }
}

async function list(part, open, url, flags, { modern, server, changes = true }) {
  const does = (what, body) => check(part, what, body)
  let session
  await does('connects', async () => {
    session = await open(url, flags)
    assert.equal(session.version, modern ? MODERN : '2025-11-25')
    assert.equal(session.client.getServerVersion().name, 'eras')
  })
  if (!session) return
  const { client, text, call } = session
  await does('lists', async () => {
    const { tools } = await client.listTools()
    assert(tools.some((tool) => tool.name === 'count'))
    assert.equal((await client.listPrompts()).prompts[0].name, 'greet')
    assert.equal((await client.readResource({ uri: (await client.listResources()).resources[0].uri })).contents[0].text, 'text of one')
  })
  await does('a call with progress', async () => {
    const seen = []
    assert.equal(await text('count', { to: 3 }, { onprogress: ({ progress }) => seen.push(progress) }), 'counted to 3')
    assert.deepEqual(seen, [1, 2, 3])
  })
  await does('sampling, elicitation, roots', async () => {
    assert.equal(await text('sample'), 'sampled text')
    assert.equal(await text('elicit'), 'Ada')
    assert.equal(await text('roots'), 'file:///first')
  })
  if (changes) {
    await does('a subscription and a list change', async () => {
      await session.listen()
      await call('touch')
      await session.notified(UPDATED)
      await call('grow')
      await session.notified(CHANGED)
    })
  }
  await does('cancellation reaches the server', async () => {
    const before = server.count('a call was cancelled')
    const controller = new AbortController()
    const refused = assert.rejects(call('slow', { signal: controller.signal }))
    await sleep(200)
    controller.abort('no longer wanted')
    await refused
    await until(() => server.count('a call was cancelled') > before, 'the cancellation')
    assert.equal(await text('count', { to: 1 }), 'counted to 1')
  })
  await does('errors', async () => {
    await assert.rejects(client.readResource({ uri: 'text://nothing' }), /text:\/\/nothing/)
  })
  await does('leaves', () => session.leave())
}

/** A list of its own, printed by the Python client. */
async function pythonList(part, interpreter, mode, url, flags) {
  const child = spawn(interpreter, [local('eras-client.py'), mode, ...bridge, url, ...flags], {
    env: { ...process.env, MCP_REMOTE_CONFIG_DIR: directory() },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  try {
    let seen = 0
    const checks = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    for (; ; seen++) {
      const { value, done } = await within(checks.next())
      if (done) break
      const [name, failure] = JSON.parse(value)
      await check(part, name, async () => assert(failure === null, failure))
    }
    await check(part, 'leaves', async () => assert.equal(seen, 7, 'the client ended early'))
  } finally {
    child.kill('SIGKILL')
  }
}

export async function eras() {
  const node = (kind) => startServer(process.execPath, [local('eras-server.mjs'), kind])
  const newer = interpreterOf('python-fastmcp')
  const older = interpreterOf('python-mcp')
  const servers = [
    { name: 'server 2.x', start: () => node('v2'), modern: true },
    { name: 'server 2.x with sessions', start: () => node('v2-legacy') },
    { name: 'server 1.x', start: () => node('v1') },
    { name: 'server 1.x on HTTP+SSE', start: () => node('v1-sse') },
  ]
  // The newer one serves both eras; with the flag it is only spoken to in one.
  if (newer) servers.push({ name: 'Python server 2.x', start: () => startServer(newer, [local('eras-server.py')]), flags: ['--protocol', 'auto'], modern: true })
  if (newer) servers.push({ name: 'Python server 2.x on HTTP+SSE', start: () => startServer(newer, [local('eras-server.py'), 'sse']), path: '/sse', changes: false })
  if (older) servers.push({ name: 'Python server 1.x', start: () => startServer(older, [local('eras-server.py')]), changes: false })
  if (older) servers.push({ name: 'Python server 1.x on HTTP+SSE', start: () => startServer(older, [local('eras-server.py'), 'sse']), path: '/sse', changes: false })
  const at = async ({ name, start, path = '/mcp', flags = [], changes, modern = false }) => {
    const server = await start()
    const url = `http://127.0.0.1:${server.port}${path}`
    await list(`client 1.x, ${name}`, v1, url, flags, { modern: false, server, changes })
    await list(`client 2.x, ${name}`, v2, url, flags, { modern, server, changes })
    // A client of 2026-07-28 alone works at a legacy server from its second start on.
    const pinned = { mode: { pin: MODERN }, store: directory() }
    if (!modern) await check(`client 2.x pinned, ${name}`, 'is refused once', () => assert.rejects(v2(url, flags, pinned)))
    const open = (url, flags) => v2(url, flags, pinned)
    await list(`client 2.x pinned, ${name}`, open, url, flags, { modern: true, server, changes })
    const mode = changes === false ? 'auto-no-changes' : modern ? 'auto' : 'auto-legacy'
    if (newer) await pythonList(`Python client 2.x, ${name}`, newer, mode, url, flags)
    if (older) await pythonList(`Python client 1.x, ${name}`, older, 'legacy', url, flags)
    await server.stop()
  }
  await Promise.all(servers.map(at))
}
