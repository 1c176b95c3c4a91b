// The official reference server, `server-everything`, in each of its HTTP modes.
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { LATEST_PROTOCOL_VERSION } from '@modelcontextprotocol/sdk/types.js'
import { check, connect, sleep, startServer, until } from './harness.mjs'

const SERVER = fileURLToPath(new URL('node_modules/@modelcontextprotocol/server-everything/dist/index.js', import.meta.url))
const PATHS = { streamableHttp: '/mcp', sse: '/sse' }
// What the server prints when a session begins and ends, and when a standing stream is opened.
const LOG = {
  streamableHttp: { begun: 'Session initialized with ID', ended: 'Received session termination request', stream: 'Establishing new SSE stream' },
  sse: { begun: 'Client Connected', ended: 'Client Disconnected', stream: 'Client Connected' },
}

const start = (mode, port = 0) =>
  startServer(process.execPath, ['--import', new URL('loopback.mjs', import.meta.url).href, SERVER, mode], { PORT: String(port) })

export async function everything(mode) {
  const server = await start(mode)
  const url = `http://127.0.0.1:${server.port}${PATHS[mode]}`
  await session(mode, server, url)
  for (const flag of ['http-first', 'sse-first', mode === 'sse' ? 'sse-only' : 'http-only']) {
    await check(mode, `--transport ${flag}`, async () => {
      const { client, text, close } = await connect(url, ['--transport', flag])
      assert.equal(client.getServerVersion().name, 'mcp-servers/everything')
      assert.equal(await text('echo', { message: flag }), `Echo: ${flag}`)
      assert.equal((await close()).code, 0)
    })
  }
  await restart(mode, server, url)
}

async function session(mode, server, url) {
  let session
  await check(mode, 'initialize', async () => {
    session = await connect(url)
    session.answers.roots = { roots: [{ uri: 'file:///first', name: 'first' }] }
    assert.equal(session.client.getServerVersion().name, 'mcp-servers/everything')
    assert.equal(session.client.getServerCapabilities().resources.subscribe, true)
    assert.match(session.client.getInstructions(), /server/i)
    assert.equal(session.received[0].result.protocolVersion, LATEST_PROTOCOL_VERSION)
  })
  if (!session) return
  const { client, answers, asked, call, text, sent, notified } = session
  const does = (name, body) => check(mode, name, body)

  await does('ping', () => client.ping())

  await does('tools/list', async () => {
    const { tools } = await client.listTools()
    const names = tools.map((tool) => tool.name)
    // The server offers these only to clients that declared the capability, so the declaration has arrived.
    for (const name of ['echo', 'trigger-sampling-request', 'trigger-elicitation-request', 'get-roots-list']) assert(names.includes(name), name)
    assert.equal(tools.find((tool) => tool.name === 'get-sum').inputSchema.properties.a.type, 'number')
  })

  await does('prompts', async () => {
    const { prompts } = await client.listPrompts()
    assert(prompts.length >= 4)
    const simple = await client.getPrompt({ name: 'simple-prompt' })
    assert.equal(simple.messages[0].role, 'user')
    const args = await client.getPrompt({ name: 'args-prompt', arguments: { city: 'Lyon' } })
    assert.match(args.messages[0].content.text, /Lyon/)
    const embedded = await client.getPrompt({ name: 'resource-prompt', arguments: { resourceType: 'Text', resourceId: '3' } })
    assert(embedded.messages.some((message) => message.content.type === 'resource'))
  })

  await does('resources and templates', async () => {
    const { resources } = await client.listResources()
    const { resourceTemplates } = await client.listResourceTemplates()
    assert(resourceTemplates.some((each) => each.uriTemplate.startsWith('demo://resource/dynamic/text/')))
    const document = await client.readResource({ uri: resources[0].uri })
    assert(document.contents[0].text.length > 100)
    const dynamic = await client.readResource({ uri: 'demo://resource/dynamic/text/7' })
    assert.match(dynamic.contents[0].text, /Resource 7/)
    const blob = await client.readResource({ uri: 'demo://resource/dynamic/blob/8' })
    assert.match(Buffer.from(blob.contents[0].blob, 'base64').toString(), /Resource 8/)
  })

  await does('completion', async () => {
    const ref = { type: 'ref/prompt', name: 'completable-prompt' }
    const first = await client.complete({ ref, argument: { name: 'department', value: 'S' } })
    assert.deepEqual(first.completion.values, ['Sales', 'Support'])
    const context = { arguments: { department: 'Sales' } }
    const second = await client.complete({ ref, argument: { name: 'name', value: 'E' }, context })
    assert.deepEqual(second.completion.values, ['Eve'])
  })

  await does('tools/call: text of every kind', async () => {
    const message = 'a "quote", a \\ backslash, tab\tand\nnewline, é 漢 🦀 \u2028 \u0000 data: x\r\n\r\n'
    assert.equal(await text('echo', { message }), `Echo: ${message}`)
    assert.match(await text('get-sum', { a: 2.5, b: 40 }), /42\.5/)
  })

  await does('tools/call: structured content, image, links', async () => {
    const weather = await call('get-structured-content', { location: 'Chicago' })
    assert.equal(typeof weather.structuredContent.temperature, 'number')
    const image = (await call('get-tiny-image')).content.find((item) => item.type === 'image')
    assert.equal(Buffer.from(image.data, 'base64').subarray(1, 4).toString(), 'PNG')
    const links = (await call('get-resource-links', { count: 4 })).content.filter((item) => item.type === 'resource_link')
    assert.equal(links.length, 4)
  })

  await does('errors arrive as the server made them', async () => {
    await assert.rejects(client.getPrompt({ name: 'no-such-prompt' }), { code: -32602, message: /no-such-prompt/ })
    await assert.rejects(client.readResource({ uri: 'demo://nothing' }), { code: -32602 })
    assert.equal((await call('get-sum', { a: 'x', b: 1 })).isError, true)
  })

  await does('progress arrives while the call runs', async () => {
    const result = await text('trigger-long-running-operation', { duration: 1, steps: 4 }, { onprogress: () => {} })
    assert.match(result, /completed/)
    const seen = sent('notifications/progress')
    assert.deepEqual(seen.map((each) => each.params.progress), [1, 2, 3, 4])
    assert(seen[3].at - seen[0].at > 400, 'all steps came at once')
    assert.equal(session.received.indexOf(seen[3]) + 1, session.received.length - 1, 'the result came before the last step')
  })

  await does('sampling', async () => {
    assert.match(await text('trigger-sampling-request', { prompt: 'say something' }), /sampled text/)
    assert.match(JSON.stringify(asked.at(-1).params.messages), /say something/)
  })

  await does('elicitation: declined, then accepted', async () => {
    assert.match(JSON.stringify(await call('trigger-elicitation-request')), /decline/i)
    answers.elicitation = { action: 'accept', content: { name: 'Ada Lovelace', integer: 7 } }
    assert.match(JSON.stringify(await call('trigger-elicitation-request')), /Ada Lovelace/)
    assert.equal(asked.at(-1).params.requestedSchema.properties.integer.maximum, 100)
  })

  await does('elicitation by URL: asked, and as an error with data', async () => {
    answers.elicitation = { action: 'accept' }
    await call('trigger-url-elicitation', { url: 'https://example.com/sign', elicitationId: 'e-1' })
    assert.equal(asked.at(-1).params.url, 'https://example.com/sign')
    const refused = call('trigger-url-elicitation', { url: 'https://example.com/sign', errorPath: true })
    await assert.rejects(refused, (error) => error.code === -32042 && error.data.elicitations.length === 1)
  })

  await does('roots: asked for, and again after they changed', async () => {
    assert.match(await text('get-roots-list'), /file:\/\/\/first/)
    answers.roots = { roots: [{ uri: 'file:///second', name: 'second' }] }
    const before = asked.length
    await client.sendRootsListChanged()
    await until(() => asked.slice(before).some((request) => request.method === 'roots/list'), 'roots/list')
    const logged = () => sent('notifications/message').filter((each) => /Roots updated/.test(each.params.data))
    await until(() => logged().length >= 2, 'the server to have read them')
    assert.match(await text('get-roots-list'), /file:\/\/\/second/)
  })

  await does('logging: level set, messages arrive', async () => {
    await client.setLoggingLevel('debug')
    await call('toggle-simulated-logging')
    await until(() => sent('notifications/message').find((each) => /level[- ]message/.test(each.params.data)), 'a log message')
    await call('toggle-simulated-logging')
  })

  await does('subscription: updates arrive, and stop', async () => {
    const uri = 'demo://resource/dynamic/text/1'
    await client.subscribeResource({ uri })
    await call('toggle-subscriber-updates')
    assert.equal((await notified('notifications/resources/updated')).params.uri, uri)
    await call('toggle-subscriber-updates')
    await client.unsubscribeResource({ uri })
  })

  await does('list changed: a new resource is announced and read', async () => {
    const data = 'data:text/plain,hello'
    const { content } = await call('gzip-file-as-resource', { name: 'new.gz', data })
    await notified('notifications/resources/list_changed')
    const { contents } = await client.readResource({ uri: content[0].uri })
    assert.equal(contents[0].mimeType, 'application/gzip')
  })

  await does('task: created, polled, result fetched', async () => {
    const stream = client.experimental.tasks.callToolStream(
      { name: 'simulate-research-query', arguments: { topic: 'bridges', ambiguous: false } },
      undefined,
      { timeout: 15_000 },
    )
    const kinds = []
    for await (const message of stream) {
      kinds.push(message.type)
      if (message.type === 'error') throw message.error
      if (message.type === 'result') assert.match(message.result.content[0].text, /bridges/)
    }
    assert.equal(kinds[0], 'taskCreated')
    assert.equal(kinds.at(-1), 'result')
  })

  await does('32 calls at once take the time of one', async () => {
    const began = Date.now()
    const calls = Array.from({ length: 32 }, (_, i) => text('trigger-long-running-operation', { duration: 0.5 + i / 1000, steps: 1 }))
    const results = await Promise.all(calls)
    results.forEach((result, i) => assert(result.includes(`Duration: ${0.5 + i / 1000} `), result))
    assert(Date.now() - began < 4000, `took ${Date.now() - began} ms`)
  })

  await does('3 MB each way', async () => {
    const message = 'pâté '.repeat(500_000)
    const answer = await text('echo', { message })
    assert.equal(answer.length, message.length + 'Echo: '.length)
    assert(answer.endsWith(message.slice(-100)))
  })

  await does('cancellation: the call ends, the session goes on', async () => {
    const controller = new AbortController()
    const slow = call('trigger-long-running-operation', { duration: 60, steps: 1 }, { signal: controller.signal })
    const refused = assert.rejects(slow)
    await sleep(200)
    controller.abort('no longer wanted')
    await refused
    assert.equal(await text('echo', { message: 'still here' }), 'Echo: still here')
  })

  await does('the bridge leaves by itself, with 0 and without a word of panic', async () => {
    const { code, signal, ms } = await session.close()
    assert.deepEqual({ code, signal }, { code: 0, signal: null })
    assert(ms < 2000, `took ${ms} ms`)
    assert.doesNotMatch(session.stderr, /panicked|stack backtrace/)
  })

  await does('one session and one stream at the server, ended', async () => {
    const { begun, ended, stream } = LOG[mode]
    await until(() => server.count(ended) > 0, 'the end of the session')
    assert.equal(server.count(begun), 1, 'sessions begun')
    assert.equal(server.count(stream), 1, 'streams opened')
    assert.equal(server.count(ended), 1, 'sessions ended')
  })
}

// The server forgets its sessions; the client must not notice.
async function restart(mode, server, url) {
  await check(mode, 'the server restarts, the client goes on', async () => {
    const { text, close } = await connect(url)
    assert.equal(await text('echo', { message: 'before' }), 'Echo: before')
    await server.stop()
    const again = await start(mode, server.port)
    assert.equal(await text('echo', { message: 'after' }), 'Echo: after')
    assert.equal((await close()).code, 0)
    await again.stop()
  })
}
