// A real MCP server (the SDK's, with its own bearer check and metadata) behind a real authorization server, the
// certified `oidc-provider` with its development pages for login and consent. Both run in this process, on ports of
// their own, so that checks can look inside.
import { createServer } from 'node:http'
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js'
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import { getOAuthProtectedResourceMetadataUrl, mcpAuthMetadataRouter } from '@modelcontextprotocol/sdk/server/auth/router.js'
import express from 'express'

// It warns of its development pages, which are what is wanted here.
console.warn = console.info = () => {}
const { Provider } = await import('oidc-provider')

export const HOUR = 3600
/** What each tool needs. Everything else needs the first. */
export const SCOPES = { read: 'mcp:read', write: 'mcp:write' }
/** A client that signs its assertions, and one with a secret. Both are known to every authorization server here. */
export const KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
export const SERVICE = { client_id: 'service', client_secret: 'a secret: with/ special %characters+' }
export const SIGNER = { client_id: 'signer', token_endpoint_auth_method: 'private_key_jwt' }

const service = { redirect_uris: [], response_types: [], grant_types: ['client_credentials'], scope: SCOPES.read }
const CLIENTS = [
  { ...service, ...SERVICE },
  { ...service, ...SIGNER, jwks: { keys: [createPublicKey(createPrivateKey(KEY)).export({ format: 'jwk' })] } },
]

async function listen() {
  const http = createServer()
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return { http, origin: `http://127.0.0.1:${http.address().port}` }
}

/** Starts both. `life` is how many seconds new access tokens last; `spoil` may answer the token endpoint's requests. */
export async function guarded() {
  const [authorization, resource] = await Promise.all([listen(), listen()])
  const server = { url: `${resource.origin}/mcp`, issuer: authorization.origin, life: HOUR, spoil: null, log: [] }
  /** How many requests the authorization server answered there: `token refresh_token`, `registration`. */
  server.count = (what) => server.log.filter((line) => line === what).length
  server.provider = authorizationServer(server, authorization)
  resource.http.on('request', mcpServer(server))
  server.stop = () => {
    for (const { http } of [authorization, resource]) {
      http.close()
      http.closeAllConnections()
    }
  }
  /** Ends the life of a stored access token, before its time and without a word. */
  server.revoke = async (file) => {
    const tokens = JSON.parse(readFileSync(file))
    await (await server.provider.AccessToken.find(tokens.access_token))?.destroy()
    return tokens
  }
  /** The same, but the store knows that its time has come. */
  server.expire = async (file) => writeFileSync(file, JSON.stringify({ ...(await server.revoke(file)), expires_at: Date.now() }))
  /** As after a move to another database: neither the client nor its tokens are known. */
  server.forget = async (tokens, client) => {
    const { refresh_token: token } = await server.revoke(tokens)
    await (await server.provider.RefreshToken.find(token)).destroy()
    await server.provider.Client.adapter.destroy(JSON.parse(readFileSync(client)).client_id)
  }
  return server
}

function authorizationServer(server, { http, origin }) {
  const provider = new Provider(origin, {
    clients: CLIENTS,
    cookies: { keys: ['interop'] },
    scopes: ['openid', 'offline_access', ...Object.values(SCOPES)],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    clientAuthMethods: ['none', 'client_secret_basic', 'private_key_jwt'],
    ttl: { Session: HOUR, Interaction: HOUR, Grant: HOUR, RefreshToken: HOUR, DeviceCode: 600 },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, audience) => ({
          audience,
          scope: Object.values(SCOPES).join(' '),
          accessTokenFormat: 'opaque',
          accessTokenTTL: server.life,
        }),
      },
      revocation: { enabled: true },
    },
  })
  provider.use(async (ctx, next) => {
    if (ctx.path === '/token' && server.spoil) Object.assign(ctx, server.spoil)
    else await next()
    const { route, params } = ctx.oidc ?? {}
    const what = route === 'token' ? `token ${params?.grant_type}` : route
    server.log.push(ctx.status < 400 ? what : `${what} refused`)
  })
  http.on('request', provider.callback())
  return provider
}

/** Whose token it is, where it came from and for what, asked of the authorization server's own store. */
async function verify({ provider }, token) {
  const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token))
  if (!found) throw new InvalidTokenError('unknown or ended')
  const { clientId, accountId, aud, exp, scope = '' } = found
  return { token, clientId, scopes: scope.split(' '), expiresAt: exp, resource: new URL(aud), extra: { accountId } }
}

function mcpServer(server) {
  const url = new URL(server.url)
  const guard = (scope) =>
    requireBearerAuth({
      verifier: { verifyAccessToken: (token) => verify(server, token) },
      requiredScopes: [scope],
      resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(url),
      expectedResource: url,
    })
  const [read, write] = [guard(SCOPES.read), guard(SCOPES.write)]
  const app = express()
  app.get('/.well-known/oauth-authorization-server', (_, res) => res.status(404).end())
  const oauthMetadata = { issuer: server.issuer, authorization_endpoint: server.issuer, token_endpoint: server.issuer, response_types_supported: ['code'] }
  app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: url, scopesSupported: Object.values(SCOPES) }))
  app.use(express.json())
  app.use('/mcp', (req, res, next) => (req.body?.params?.name === 'write' ? write : read)(req, res, next))
  app.all('/mcp', async (req, res) => {
    const mcp = new McpServer({ name: 'guarded', version: '1' })
    const who = async (_, { authInfo }) => ({ content: [{ type: 'text', text: authInfo.extra.accountId ?? authInfo.clientId }] })
    for (const name of Object.keys(SCOPES)) mcp.registerTool(name, {}, (extra) => who(null, extra))
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined })
    res.on('close', () => mcp.close())
    await mcp.connect(transport)
    await transport.handleRequest(req, res, req.body)
  })
  return app
}
