// The same small server on the two Python packages that most servers are written with, in every way they serve.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { check, connect, sleep, startServer, until } from './harness.mjs'
import { client, once, user } from './signin.mjs'

export const local = (path) => fileURLToPath(new URL(path, import.meta.url))

export const interpreterOf = (name) => [`${name}/bin/python`, `${name}/Scripts/python.exe`].map(local).find(existsSync)

/** Runs for the package in the virtual environment of that name; tells whether it is there. */
export async function python(name) {
  const interpreter = interpreterOf(name)
  if (!interpreter) return false
  for (const mode of ['stateful', 'stateless', 'json', 'sse']) await serve(name, mode, interpreter)
  return true
}

async function serve(name, mode, interpreter) {
  const server = await startServer(interpreter, [local('server.py'), mode])
  const url = `http://127.0.0.1:${server.port}/${mode === 'sse' ? 'sse' : 'mcp'}`
  const does = (what, body) => check(`${name} ${mode}`, what, body)
  let session
  await does('initialize and lists', async () => {
    session = await connect(url)
    const { client } = session
    assert.equal(client.getServerVersion().name, 'python-server')
    const { tools } = await client.listTools()
    assert.deepEqual(tools.map((tool) => tool.name), ['add', 'count', 'ask', 'interrupted', 'large'])
    assert.equal((await client.listPrompts()).prompts[0].name, 'greet')
    assert.equal((await client.listResourceTemplates()).resourceTemplates[0].uriTemplate, 'text://{name}')
  })
  if (!session) return server.stop()
  const { client, answers, text, sent } = session

  await does('a tool, a prompt, a resource', async () => {
    assert.match(await text('add', { a: 1.5, b: 2 }), /^3\.5/)
    const prompt = await client.getPrompt({ name: 'greet', arguments: { name: 'Ada' } })
    assert.equal(prompt.messages[0].content.text, 'Greet Ada.')
    const { contents } = await client.readResource({ uri: 'text://one' })
    assert.equal(contents[0].text, 'text of one')
  })

  await does('16 calls at once, and a result of 4 MB', async () => {
    const sums = await Promise.all(Array.from({ length: 16 }, (_, i) => text('add', { a: i, b: 0.5 })))
    sums.forEach((sum, i) => assert.equal(Number(sum), i + 0.5))
    assert.equal((await text('large', { size: 4_000_000 })).length, 4_000_000)
  })

  if (mode !== 'json') {
    await does('progress arrives before the result', async () => {
      assert.equal(await text('count', { to: 3 }, { onprogress: () => {} }), 'counted to 3')
      assert.deepEqual(sent('notifications/progress').map((each) => each.params.progress), [1, 2, 3])
    })
  }

  // Without a session there is nobody to whom the answer of a client could go.
  if (mode === 'stateful' || mode === 'sse') {
    await does('elicitation', async () => {
      answers.elicitation = { action: 'accept', content: { name: 'Ada' } }
      assert.equal(await text('ask'), 'Ada')
    })
  }

  if (mode === 'stateful') {
    await does('a cut stream is resumed: nothing lost, nothing twice', async () => {
      const before = sent('notifications/progress').length
      const began = Date.now()
      assert.equal(await text('interrupted', {}, { onprogress: () => {} }), 'resumed')
      assert.deepEqual(sent('notifications/progress').slice(before).map((each) => each.params.progress), [1, 2])
      assert(Date.now() - began >= 300, 'resumed before the time the server asked for')
      assert(server.count('"GET /mcp') >= 2, 'the stream was not cut')
    })
  }

  await does('the bridge leaves by itself', async () => {
    const { code, signal } = await session.close()
    assert.deepEqual({ code, signal }, { code: 0, signal: null })
    if (mode === 'stateful' || mode === 'json') await until(() => server.count('"DELETE /mcp') === 1, 'one DELETE')
  })
  await server.stop()
}

/** A sign-in at FastMCP's own authorization server. */
export async function pythonSignIn() {
  const interpreter = interpreterOf('python-fastmcp')
  if (!interpreter) return false
  const life = 3
  const server = await startServer(interpreter, [local('guarded.py'), String(life)])
  const url = `http://127.0.0.1:${server.port}/mcp`
  const ada = user()
  const does = (what, body) => check('python-fastmcp sign-in', what, body)
  await does('first run: one window', async () => {
    assert.equal((await once(ada, url)).name, 'a secret')
    assert.equal(ada.windows(), 1)
    assert.match(await ada.page(), /signed in/)
  })
  await does('second run: no window', async () => {
    assert.equal((await once(ada, url)).name, 'a secret')
    assert.equal(ada.windows(), 1)
  })
  await does('the token ends and is refreshed, twice, without a window', async () => {
    const session = await ada.connect(url)
    const seen = new Set()
    for (let round = 0; round < 3; round++) {
      await sleep(round && life * 1000 + 500)
      assert.equal(await session.text('read'), 'a secret')
      seen.add(ada.tokens().refresh_token)
    }
    assert.equal(seen.size, 3)
    await session.close()
    assert.equal(ada.windows(), 1)
    assert.equal(server.count('"POST /register'), 1)
  })
  await does('--logout revokes', async () => {
    assert.match((await client(ada, [url, '--logout'])).output, /revoked and removed/)
  })
  await server.stop()
}
