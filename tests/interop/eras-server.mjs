// The same small server on the SDK of either generation. Argument: `v2` speaks 2026-07-28 and nothing older; `v2-legacy`
// is the same package with sessions; `v1` is the older SDK with sessions, `v1-sse` on the transport of 2024-11-05.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node'
import * as v1 from '@modelcontextprotocol/sdk/server/mcp.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { CreateMessageResultSchema, ElicitResultSchema, ListRootsResultSchema, SubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import * as v2 from '@modelcontextprotocol/server'
import { z } from 'zod'

const kind = process.argv[2]
const URI = 'text://one'
const INFO = { name: 'eras', version: '1' }
const OPTIONS = { capabilities: { logging: {}, resources: { subscribe: true, listChanged: true }, tools: { listChanged: true } } }
const QUESTIONS = {
  sample: { method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: { type: 'text', text: 'say something' } }], maxTokens: 9 } },
  elicit: {
    method: 'elicitation/create',
    params: { mode: 'form', message: 'Your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } },
  },
  roots: { method: 'roots/list' },
}
const RESULTS = { sample: CreateMessageResultSchema, elicit: ElicitResultSchema, roots: ListRootsResultSchema }
const text = (text) => ({ content: [{ type: 'text', text }] })
const said = (answer) => text(answer.content?.text ?? answer.content?.name ?? answer.roots?.[0]?.uri ?? answer.action)

/** `notify` tells of a change, `ask` puts a question, `progress` and `signal` belong to the call. */
function fill(server, around) {
  server.registerTool('count', { inputSchema: z.object({ to: z.number() }) }, async ({ to }, context) => {
    for (let step = 1; step <= to; step++) {
      await around(context).progress(step)
      // The older SDK's client drops what comes together with the result.
      await new Promise((resolve) => setTimeout(resolve, 80))
    }
    return text(`counted to ${to}`)
  })
  for (const name of Object.keys(QUESTIONS)) server.registerTool(name, {}, (context) => around(context).ask(name))
  server.registerTool('slow', {}, async (context) => {
    const { signal, progress } = around(context)
    await progress(1)
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    console.log('a call was cancelled')
    return text('too late')
  })
  server.registerTool('touch', {}, async (context) => {
    await around(context).updated()
    return text('touched')
  })
  server.registerTool('grow', {}, async (context) => {
    await around(context).changed()
    return text('grown')
  })
  server.registerResource('one', URI, {}, async () => ({ contents: [{ uri: URI, text: 'text of one' }] }))
  server.registerPrompt('greet', { argsSchema: z.object({ name: z.string() }).shape }, ({ name }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${name}.` } }],
  }))
  return server
}

const count = (token, step) => ({ method: 'notifications/progress', params: { progressToken: token, progress: step } })
/** How either SDK does it in a session. */
const inSession = (server, context) => {
  const request = context.mcpReq ?? context
  const send = request.send ?? request.sendRequest
  const notify = request.notify ?? request.sendNotification
  return {
    signal: request.signal,
    progress: (step) => notify(count(request._meta?.progressToken, step)),
    ask: async (name) => said(await (context.mcpReq ? send(QUESTIONS[name]) : send(QUESTIONS[name], RESULTS[name]))),
    updated: () => server.server.sendResourceUpdated({ uri: URI }),
    changed: () => server.sendToolListChanged(),
  }
}

function sessionServer() {
  const server = new (kind === 'v2-legacy' ? v2 : v1).McpServer(INFO, OPTIONS)
  fill(server, (context) => inSession(server, context))
  for (const name of ['subscribe', 'unsubscribe']) {
    if (kind === 'v2-legacy') server.server.setRequestHandler(`resources/${name}`, () => ({}))
    else if (name === 'subscribe') server.server.setRequestHandler(SubscribeRequestSchema, () => ({}))
  }
  return server
}

function modern() {
  const handler = v2.createMcpHandler(
    () =>
      fill(new v2.McpServer(INFO, OPTIONS), ({ mcpReq }) => ({
        signal: mcpReq.signal,
        progress: (step) => mcpReq.notify(count(mcpReq._meta?.progressToken, step)),
        ask: (name) => {
          const answer = mcpReq.inputResponses?.[name]
          return answer ? said(answer) : v2.inputRequired({ inputRequests: { [name]: QUESTIONS[name] } })
        },
        updated: () => handler.notify.resourceUpdated(URI),
        changed: () => handler.notify.toolsChanged(),
      })),
    { legacy: 'reject' },
  )
  return toNodeHandler(handler)
}

function sessions() {
  const open = new Map()
  const Transport = kind === 'v2-legacy' ? NodeStreamableHTTPServerTransport : StreamableHTTPServerTransport
  return async (request, response) => {
    let transport = open.get(request.headers['mcp-session-id'])
    if (!transport) {
      transport = new Transport({ sessionIdGenerator: randomUUID, onsessioninitialized: (id) => open.set(id, transport) })
      await sessionServer().connect(transport)
    }
    await transport.handleRequest(request, response)
  }
}

function sse() {
  const open = new Map()
  return async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost')
    if (request.method === 'GET') {
      const transport = new SSEServerTransport('/message', response)
      open.set(transport.sessionId, transport)
      await sessionServer().connect(transport)
    } else if (pathname === '/message') await open.get(searchParams.get('sessionId')).handlePostMessage(request, response)
    else response.writeHead(404).end()
  }
}

const handle = kind === 'v2' ? modern() : kind === 'v1-sse' ? sse() : sessions()
const server = createServer((request, response) => {
  console.log(`"${request.method} ${request.url.split('?')[0]}`)
  handle(request, response)
}).listen(0, '127.0.0.1', () => console.log(`listening on port ${server.address().port}`))
