#!/usr/bin/env node
// A browser with a person in front of it: follows redirects with cookies and submits each form it meets.
// As a program, for BROWSER, it notes each window and its end in the file BROWSER_LOG. BROWSER_ANSWER says what the person
// does: `accept`, `decline` (presses Cancel), or `none` (it is for somebody else to open the address).
import { appendFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const TYPED = { login: 'ada', password: 'lovelace' }
const LONGEST_TRIP = 30

const unescape = (text) => text.replace(/&(amp|quot|#39|lt|gt);/g, (_, name) => ({ amp: '&', quot: '"', '#39': "'", lt: '<', gt: '>' })[name])
const attribute = (tag, name) => unescape(tag.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1] ?? '')

/** Opens the address and goes on until there is nothing more to submit, or until an address that starts with `stop`. */
export async function visit(address, { answer = 'accept', stop = null } = {}) {
  const cookies = new Map()
  let url = new URL(address)
  let body
  for (let step = 0; step < LONGEST_TRIP; step++) {
    if (stop && url.href.startsWith(stop)) return { url: url.href }
    const sent = [...cookies.values()].filter((cookie) => cookie.host === url.hostname && url.pathname.startsWith(cookie.path))
    const response = await fetch(url, {
      method: body ? 'POST' : 'GET',
      body,
      redirect: 'manual',
      headers: { cookie: sent.map((cookie) => cookie.pair).join('; ') },
    })
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';')
      const path = line.match(/;\s*path=([^;]*)/i)?.[1] ?? '/'
      const key = `${url.hostname}${path} ${pair.split('=')[0]}`
      if (pair.endsWith('=')) cookies.delete(key)
      else cookies.set(key, { host: url.hostname, path, pair })
    }
    body = undefined
    const html = await response.text()
    const next = response.headers.get('location')
    const [form] = html.match(/<form[\s\S]*?<\/form>/) ?? []
    const cancel = html.match(/<a [^>]*href="([^"]*\/abort)"/)?.[1]
    if (next) {
      url = new URL(next, url)
    } else if (cancel && answer === 'decline') {
      url = new URL(unescape(cancel), url)
    } else if (form) {
      url = new URL(attribute(form, 'action'), url)
      const inputs = (form.match(/<input[^>]*>/g) ?? []).map((tag) => [attribute(tag, 'name'), attribute(tag, 'value')])
      body = new URLSearchParams(inputs.map(([name, value]) => [name, value || TYPED[name] || '']))
    } else {
      return { url: url.href, status: response.status, html, title: html.match(/<h1>(.*?)<\/h1>/)?.[1] ?? '' }
    }
  }
  throw new Error(`the browser got lost at ${url}`)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const note = (line) => appendFileSync(process.env.BROWSER_LOG, `${line}\n`)
  const answer = process.env.BROWSER_ANSWER
  note(`opened ${process.argv[2]}`)
  if (answer !== 'none') {
    const page = await visit(process.argv[2], { answer })
    note(`ended ${page.status} ${page.title}`)
  }
}
