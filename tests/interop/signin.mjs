// Sign-ins at a real authorization server, as a person and as a program see them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { visit } from './browser.mjs'
import { guarded, HOUR, KEY, SCOPES, SERVICE, SIGNER } from './guarded.mjs'
import { bridge, check, connect, directory, sleep, until, within } from './harness.mjs'

const PART = 'oidc-provider'
const does = (what, body) => check(PART, what, body)
const CLIENT = bridge[0].replace(/(\.exe)?$/, '-client$1')

/** A user: a store of its own, a browser with a person in front, and what happened in it. */
export function user(answer = 'accept') {
  const home = directory()
  const log = join(home, 'browser.log')
  const lines = (word) => (existsSync(log) ? readFileSync(log, 'utf8') : '').split('\n').filter((line) => line.startsWith(word))
  const env = {
    MCP_REMOTE_CONFIG_DIR: home,
    BROWSER: fileURLToPath(new URL('browser.mjs', import.meta.url)),
    BROWSER_LOG: log,
    BROWSER_ANSWER: answer,
  }
  const store = join(home, 'mcp-remote-v1')
  const file = (name) => join(store, readdirSync(store).find((each) => each.endsWith(name)) ?? name)
  return {
    env,
    file,
    store,
    tokens: () => JSON.parse(readFileSync(file('_tokens.json'))),
    windows: () => lines('opened').length,
    /** What the last window was opened with. */
    address: () => lines('opened').at(-1)?.split(' ')[1],
    /** How the last window ended; it may still be loading when the bridge goes on. */
    page: () => until(() => lines('ended').length === lines('opened').length && lines('ended').at(-1), 'the last page'),
    connect: (url, flags, command) => connect(url, flags, { env, command }),
  }
}

/** Connects, calls a tool, leaves. */
export async function once(who, url, flags, command) {
  const session = await who.connect(url, flags, command)
  const name = await session.text('read')
  await session.close()
  return Object.assign(session, { name })
}

/** Runs `mcp-remote-client` to its end. `typed` gets what it has printed so far and may answer with a line to type. */
export function client(who, args, typed = () => null) {
  const child = spawn(CLIENT, args, { env: { BROWSER: 'none', ...process.env, ...who.env } })
  const done = { output: '' }
  const listen = (data) => {
    done.output += data
    const line = typed(done.output)
    if (line) line.then((text) => child.stdin.write(`${text}\n`))
  }
  child.stdout.on('data', listen)
  child.stderr.on('data', listen)
  return within(new Promise((resolve) => child.once('exit', (code) => resolve({ ...done, code })))).finally(() => child.kill('SIGKILL'))
}

export async function signIn() {
  const server = await guarded()
  await person(server)
  await refresh(server)
  await together(server)
  await refusals(server)
  await withoutBrowser(server)
  await programs(server)
  await commands(server)
  server.stop()
}

async function person(server) {
  const { url } = server
  const ada = user()
  await does('first run: one window, one registration, the tool knows the person', async () => {
    assert.equal((await once(ada, url)).name, 'ada')
    assert.equal(ada.windows(), 1)
    assert.equal(await ada.page(), 'ended 200 You are signed in')
    assert.equal(server.count('registration'), 1)
    assert.equal(server.count('token authorization_code'), 1)
  })
  await does('second run: no window, nothing asked of the authorization server', async () => {
    const before = server.log.length
    assert.equal((await once(ada, url)).name, 'ada')
    assert.equal(ada.windows(), 1)
    assert.deepEqual(server.log.slice(before), [])
  })
  await does('step-up: 403 insufficient_scope in a session, the call is answered; remembered by the next run', async () => {
    const session = await ada.connect(url)
    assert.equal(await session.text('write'), 'ada')
    assert.equal(await session.text('read'), 'ada')
    await session.close()
    assert.equal(ada.windows(), 2)
    assert.deepEqual(ada.tokens().scope.split(' ').sort(), Object.values(SCOPES))
    const again = await ada.connect(url)
    assert.equal(await again.text('write'), 'ada')
    await again.close()
    assert.equal(ada.windows(), 2)
  })
  await does('step-up declined: the call is refused in words, the rest goes on', async () => {
    const eve = user()
    const session = await eve.connect(url)
    await session.text('read')
    await session.close()
    eve.env.BROWSER_ANSWER = 'decline'
    const again = await eve.connect(url)
    await assert.rejects(again.text('write'), /declined|denied/)
    assert.equal(await again.text('read'), 'ada')
    await again.close()
    await server.revoke(eve.file('_tokens.json'))
    assert.equal((await once(eve, url)).name, 'ada')
    assert.equal(eve.windows(), 2)
  })
  await does('killed while the person is at the browser: the open tab completes the next run', async () => {
    const eve = user('none')
    const first = spawn(bridge[0], [...bridge.slice(1), url], { env: { ...process.env, ...eve.env } })
    first.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    const place = await until(eve.address, 'the address')
    first.kill('SIGKILL')
    const next = once(eve, url)
    await sleep(1000)
    assert.match((await visit(place)).html, /You are signed in/)
    assert.equal((await next).name, 'ada')
    assert.equal(eve.windows(), 1)
  })
  await does('what is stored is for the owner alone', async () => {
    assert.equal(statSync(ada.store).mode & 0o777, 0o700)
    for (const name of readdirSync(ada.store)) assert.equal(statSync(join(ada.store, name)).mode & 0o777, 0o600, name)
  })
}

async function refresh(server) {
  const { url } = server
  const ada = user()
  const refreshed = () => server.count('token refresh_token')
  await does('tokens end, are refreshed and rotated, again and again, without a window', async () => {
    server.life = 3
    const seen = new Set()
    const before = refreshed()
    const session = await ada.connect(url)
    for (let round = 0; round < 3; round++) {
      assert.equal(await session.text('read'), 'ada')
      seen.add(ada.tokens().refresh_token)
      await sleep(3100)
    }
    await session.close()
    assert.equal(seen.size, 3)
    assert.equal(refreshed() - before, 2)
    assert.equal((await once(ada, url)).name, 'ada')
    assert.equal(ada.windows(), 1)
    assert.equal(refreshed() - before, 3)
  })
  server.life = HOUR
  await does('a token the server no longer takes: ten calls at once, one refresh, ten answers', async () => {
    const session = await ada.connect(url)
    await session.text('read')
    await server.revoke(ada.file('_tokens.json'))
    const before = refreshed()
    const names = await Promise.all(Array.from({ length: 10 }, () => session.text('read')))
    assert.deepEqual(new Set(names), new Set(['ada']))
    assert.equal(refreshed() - before, 1)
    await session.close()
    assert.equal(ada.windows(), 1)
  })
  await does('the token endpoint is down for a while: no window, no lost sign-in', async () => {
    server.spoil = { status: 503, body: 'down for maintenance' }
    await server.revoke(ada.file('_tokens.json'))
    const back = sleep(1500).then(() => (server.spoil = null))
    assert.equal((await once(ada, url)).name, 'ada')
    await back
    assert.equal(ada.windows(), 1)
  })
  await does('a refresh token that was revoked: one new sign-in', async () => {
    const { refresh_token: token } = await server.revoke(ada.file('_tokens.json'))
    await (await server.provider.RefreshToken.find(token)).destroy()
    assert.equal((await once(ada, url)).name, 'ada')
    assert.equal(ada.windows(), 2)
  })
}

async function together(server) {
  const { url } = server
  const ada = user()
  await does('three instances at once: one window, one registration, all work', async () => {
    const [codes, registrations] = [server.count('token authorization_code'), server.count('registration')]
    const all = await Promise.all([1, 2, 3].map(() => once(ada, url)))
    assert.deepEqual(all.map((each) => each.name), ['ada', 'ada', 'ada'])
    assert.equal(ada.windows(), 1)
    assert.equal(server.count('token authorization_code') - codes, 1)
    assert.equal(server.count('registration') - registrations, 1)
  })
  await does('three instances with an ended token: one refresh', async () => {
    const before = server.count('token refresh_token')
    await server.revoke(ada.file('_tokens.json'))
    const all = await Promise.all([1, 2, 3].map(() => once(ada, url)))
    assert.deepEqual(all.map((each) => each.name), ['ada', 'ada', 'ada'])
    assert.equal(server.count('token refresh_token') - before, 1)
    assert.equal(ada.windows(), 1)
  })
}

async function refusals(server) {
  const { url } = server
  await does('the person declines: the client is told, and so is the person', async () => {
    const eve = user('decline')
    await assert.rejects(eve.connect(url), /declined|denied/)
    assert.equal(await eve.page(), 'ended 400 Not signed in')
    assert.equal(eve.windows(), 1)
    // As the page says.
    eve.env.BROWSER_ANSWER = 'accept'
    assert.equal((await once(eve, url)).name, 'ada')
  })
  await does('the code is refused: the client is told, and so is the person', async () => {
    const eve = user()
    server.spoil = { status: 400, body: { error: 'invalid_grant', error_description: 'the code was used before' } }
    await assert.rejects(eve.connect(url), /the code was used before/)
    server.spoil = null
    assert.equal(await eve.page(), 'ended 502 The sign-in failed')
    assert.equal((await once(eve, url)).name, 'ada')
  })
  await does('the server has forgotten client and tokens: registered anew, one window, no error page', async () => {
    const eve = user()
    await once(eve, url)
    const before = server.count('registration')
    await server.forget(eve.file('_tokens.json'), eve.file('_client_info.json'))
    assert.equal((await once(eve, url)).name, 'ada')
    assert.equal(server.count('registration') - before, 1)
    assert.equal(eve.windows(), 2)
    assert.equal(await eve.page(), 'ended 200 You are signed in')
  })
}

/** The first address in a text that starts so. */
const address = (output, start) => output.match(new RegExp(`${start}\\S+`))?.[0]

async function withoutBrowser(server) {
  const { url, issuer } = server
  await does('--device-code: the code is confirmed elsewhere; refreshed without one', async () => {
    const ada = user()
    // The SDK's client is not connected before the sign-in: the address is read from the log.
    const flags = ['--device-code', '--log-file', join(ada.env.MCP_REMOTE_CONFIG_DIR, 'log')]
    const running = once(ada, url, flags)
    const log = () => (existsSync(flags[2]) ? address(readFileSync(flags[2], 'utf8'), `${issuer}/device\\?user_code=`) : null)
    const page = await visit(await until(log, 'the address'))
    assert.match(page.html, /Sign-in Success/)
    assert.equal((await running).name, 'ada')
    await server.revoke(ada.file('_tokens.json'))
    assert.equal((await once(ada, url, flags)).name, 'ada')
    assert.equal(server.count('device_authorization'), 1)
    assert.equal(ada.windows(), 0)
  })
  await does('mcp-remote-client --no-browser: the address the browser ended at is pasted; the bridge works then', async () => {
    const ada = user()
    const asked = new Set()
    const result = await client(ada, [url, '--no-browser'], (output) => {
      const place = address(output, `${issuer}/auth\\?`)
      if (!place || asked.has(place) || !output.includes('paste')) return null
      asked.add(place)
      return visit(place, { stop: new URL(place).searchParams.get('redirect_uri') }).then((end) => end.url)
    })
    assert.equal(result.code, 0, result.output)
    assert.equal((await once(ada, url)).name, 'ada')
    assert.equal(ada.windows(), 0)
  })
}

async function programs(server) {
  const { url } = server
  const info = (known) => ['--client-credentials', '--static-oauth-client-info', JSON.stringify(known)]
  await does('--client-credentials with a secret; renewed by itself', async () => {
    const robot = user()
    server.life = 3
    const session = await robot.connect(url, info(SERVICE))
    assert.equal(await session.text('read'), SERVICE.client_id)
    await sleep(3100)
    assert.equal(await session.text('read'), SERVICE.client_id)
    await session.close()
    server.life = HOUR
    assert.equal(server.count('token client_credentials'), 2)
    assert.equal(robot.windows(), 0)
  })
  await does('--client-credentials with private_key_jwt', async () => {
    const robot = user()
    const key = join(robot.env.MCP_REMOTE_CONFIG_DIR, 'key.pem')
    writeFileSync(key, KEY, { mode: 0o600 })
    assert.equal((await once(robot, url, [...info(SIGNER), '--client-assertion-key', key])).name, SIGNER.client_id)
    assert.equal(robot.windows(), 0)
  })
}

/** npm's mcp-remote and ours on one store, in front of one server. */
export async function npmToo() {
  const server = await guarded()
  const { url } = server
  const npm = [process.execPath, fileURLToPath(new URL('node_modules/mcp-remote/dist/proxy.js', import.meta.url))]
  const refreshed = () => server.count('token refresh_token')
  const pairs = { 'npm, then ours': [npm, bridge], 'ours, then npm': [bridge, npm] }
  for (const [order, [first, second]] of Object.entries(pairs)) {
    const ada = user()
    const may = (what, body) => check('npm mcp-remote', `${order}: ${what}`, body)
    await may('the second uses what the first stored, without a window', async () => {
      assert.equal((await once(ada, url, [], first)).name, 'ada')
      assert.equal((await once(ada, url, [], second)).name, 'ada')
      assert.equal(ada.windows(), 1)
    })
    await may('each refreshes what the other stored', async () => {
      for (const command of [second, first, second]) {
        const before = refreshed()
        await server.expire(ada.file('_tokens.json'))
        assert.equal((await once(ada, url, [], command)).name, 'ada')
        assert.equal(refreshed() - before, 1)
      }
      assert.equal(ada.windows(), 1)
    })
    await may('both at once: one window, both work', async () => {
      const eve = user()
      const all = await Promise.all([first, second].map((command) => once(eve, url, [], command)))
      assert.deepEqual(all.map((each) => each.name), ['ada', 'ada'])
      assert.equal(eve.windows(), 1)
    })
  }
  server.stop()
}

async function commands(server) {
  const { url } = server
  const ada = user()
  await does('--list, --status, --logout: what they say is so, and the tokens are dead at the server', async () => {
    assert.notEqual((await client(ada, [url, '--status'])).code, 0)
    await once(ada, url)
    assert.match((await client(ada, ['--list'])).output, new RegExp(`${url}  signed in`))
    const status = await client(ada, [url, '--status', '--json'])
    assert.equal(status.code, 0)
    const known = JSON.parse(status.output)
    assert.equal(known.signedIn && known.refreshable, true)
    assert.equal(known.issuer, server.issuer)
    const { access_token: access, refresh_token: refresh } = ada.tokens()
    const { output, code } = await client(ada, [url, '--logout'])
    assert.equal(code, 0, output)
    assert.match(output, /revoked and removed/)
    assert.equal(await server.provider.AccessToken.find(access), undefined)
    assert.equal(await server.provider.RefreshToken.find(refresh), undefined)
    const answer = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${access}` } })
    assert.equal(answer.status, 401)
    assert.notEqual((await client(ada, [url, '--status'])).code, 0)
    // The lock file stays: removing it would give two instances the lock.
    assert.deepEqual(readdirSync(ada.store).filter((name) => !name.endsWith('_lock')), [])
  })
}
