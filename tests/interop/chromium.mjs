// Sign-ins in real, headless Chromium: through the login pages of oidc-provider to the page the bridge answers with, and
// what that page looks like. `scripts/interop --browser` calls it; the screenshots go to the directory SCREENSHOTS.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { guarded } from './guarded.mjs'
import { check, directory, finish, sleep, until, within } from './harness.mjs'
import { user } from './signin.mjs'

const SCREENSHOTS = process.env.SCREENSHOTS
const VIEWS = {
  light: { width: 1000, height: 700, scheme: 'light' },
  dark: { width: 1000, height: 700, scheme: 'dark' },
  phone: { width: 320, height: 640, scheme: 'light' },
  'phone-dark': { width: 320, height: 640, scheme: 'dark' },
}

/** Starts Chromium and speaks its debugging protocol over pipes: JSON documents that end with a zero byte. */
async function chromium() {
  const args = ['--headless=new', '--remote-debugging-pipe', '--no-first-run', '--disable-gpu', `--user-data-dir=${directory()}`]
  // The login pages ask the network for fonts.
  args.push('--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1')
  if (process.getuid?.() === 0) args.push('--no-sandbox')
  const child = spawn(process.env.CHROMIUM, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  process.on('exit', () => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [, , , commands, answers] = child.stdio
  const waiting = new Map()
  const complaints = []
  let rest = ''
  answers.setEncoding('utf8').on('data', (data) => {
    const documents = (rest + data).split('\0')
    rest = documents.pop()
    for (const { id, error, result, method, params } of documents.map((text) => JSON.parse(text))) {
      if (method === 'Log.entryAdded' && params.entry.url?.includes('/oauth/')) complaints.push(params.entry.text)
      const [resolve, reject] = waiting.get(id) ?? []
      if (error) reject?.(new Error(error.message))
      else resolve?.(result)
    }
  })
  let sent = 0
  let sessionId
  const send = (method, params = {}) => {
    sent += 1
    commands.write(`${JSON.stringify({ id: sent, method, params, sessionId })}\0`)
    return within(new Promise((...both) => waiting.set(sent, both)))
  }
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' })
  sessionId = (await send('Target.attachToTarget', { targetId, flatten: true })).sessionId
  await send('Log.enable')
  const evaluate = async (expression) => (await send('Runtime.evaluate', { expression, returnByValue: true })).result.value
  return {
    complaints,
    send,
    evaluate,
    /** Its directory can be removed only after it has ended. */
    close: () => send('Browser.close').then(() => exit),
    /** Waits until the page has such an element, and does that with it. */
    async on(selector, action) {
      const found = `(() => { const it = document.readyState === 'complete' && document.querySelector('${selector}'); if (it) { ${action} } return Boolean(it) })()`
      for (let tries = 0; tries < 200; tries++, await sleep(50)) if (await evaluate(found).catch(() => false)) return
      throw new Error(`no ${selector} in ${await evaluate('document.documentElement.outerHTML')}`)
    },
    async screenshot(name, { width, height, scheme }) {
      await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 })
      await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
      const { data } = await send('Page.captureScreenshot')
      writeFileSync(join(SCREENSHOTS, `${name}.png`), Buffer.from(data, 'base64'))
      // What is wider than the window is cut off on a phone.
      assert.equal(await evaluate('document.documentElement.scrollWidth <= innerWidth'), true, `${name} is too wide`)
    },
  }
}

const login = async (page) => {
  await page.on('input[name=login]', "it.value = 'ada'; it.form.password.value = 'lovelace'; it.form.querySelector('button').click()")
  await page.on('input[value=consent]', "it.form.querySelector('button').click()")
}
const OUTCOMES = {
  'signed-in': { title: 'You are signed in', act: login },
  declined: { title: 'Not signed in', act: (page) => page.on('a[href$="/abort"]', 'it.click()') },
  failed: {
    title: 'The sign-in failed',
    act: login,
    spoil: { status: 400, body: { error: 'invalid_grant', error_description: 'the code was issued to another client' } },
  },
}

mkdirSync(SCREENSHOTS, { recursive: true })
const server = await guarded()
for (const [name, { title, act, spoil = null }] of Object.entries(OUTCOMES)) {
  await check('chromium', `${name}: through the login pages to "${title}"`, async () => {
    const [page, ada] = [await chromium(), user('none')]
    try {
      server.spoil = spoil
      const session = ada.connect(server.url)
      session.catch(() => {})
      await page.send('Page.navigate', { url: await until(ada.address, 'the address') })
      await act(page)
      await page.on('main .next', '')
      const text = await page.evaluate('document.body.innerText')
      assert(text.includes(title) && text.includes(server.url), text)
      for (const [view, how] of Object.entries(VIEWS)) await page.screenshot(`${name}-${view}`, how)
      // Chromium notes that the answer of a failure is an error, and must have nothing else to say about the page.
      assert.equal(page.complaints.length, name === 'signed-in' ? 0 : 1, page.complaints.join('\n'))
      if (name === 'signed-in') {
        assert.equal(await (await session).text('read'), 'ada')
        await (await session).close()
      }
    } finally {
      await page.close()
    }
  })
}
await check('chromium', 'a second sign-in right after the first, although Chromium opens connections ahead of need', async () => {
  const [page, ada] = [await chromium(), user('none')]
  try {
    server.spoil = null
    const connecting = ada.connect(server.url)
    await page.send('Page.navigate', { url: await until(ada.address, 'the address') })
    await login(page)
    await page.on('main .next', '')
    const session = await connecting
    const written = session.text('write')
    await until(() => ada.windows() === 2, 'the second window')
    await page.send('Page.navigate', { url: ada.address() })
    await page.on('input[value=consent]', "it.form.querySelector('button').click()")
    await page.on('main .next', '')
    assert(await page.evaluate("document.body.innerText.includes('You are signed in')"))
    assert.equal(await written, 'ada')
    await session.close()
  } finally {
    await page.close()
  }
})
finish()
