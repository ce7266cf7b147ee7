// Hosts any number of Yjs clients for a test. A JSON command a line on stdin, a JSON answer a line on stdout:
// {"id": 1, "command": "connect", …} → {"id": 1, "result": …} or {"id": 1, "error": "…"}. Answers come in any order.
import { createInterface } from 'node:readline'
import { Client } from './client.mjs'
import { holds } from './conditions.mjs'
import { applyEdits } from './edits.mjs'
import { HocuspocusClient, HocuspocusSocket } from './hocuspocus_client.mjs'
import { YSweetClient } from './y_sweet_client.mjs'

const clients = new Map()
const sockets = new Map()

const found = (map, name) => {
  if (!map.has(name)) throw new Error(`there is nothing named ${name}`)
  return map.get(name)
}

const added = (map, name, make) => {
  if (map.has(name)) throw new Error(`there is something named ${name} already`)
  const thing = make()
  map.set(name, thing)
  return thing
}

const named = name => found(clients, name)

const socketNamed = name => found(sockets, name)

const removed = (map, name) => {
  found(map, name).destroy()
  map.delete(name)
}

const COMMANDS = {
  create: options => added(clients, options.name, () => new Client(options)).doc.clientID,
  edit: ({ name, edits }) => applyEdits(named(name).doc, edits),
  setAwareness: ({ name, state }) => named(name).provider.awareness.setLocalState(state),
  apply: ({ name, update }) => named(name).apply(new Uint8Array(Buffer.from(update, 'base64'))),
  report: ({ name }) => named(name).report(),
  wait: ({ names, condition, seconds, ...details }) => holds(names.map(named), condition, details, seconds),
  connect: ({ name }) => named(name).connect(),
  disconnect: ({ name }) => named(name).disconnect(),
  // As when a network fails: the socket ends without a close frame, and the provider reconnects.
  drop: ({ name }) => named(name).drop(),
  destroy: ({ name }) => removed(clients, name),
  createYSweet: options => added(clients, options.name, () => new YSweetClient(options)).doc.clientID,
  // Imported when it is used, as it needs a newer version of Node than the others.
  createNext: async options => {
    const { NextClient } = await import('./next_client.mjs')
    return added(clients, options.name, () => new NextClient(options)).doc.clientID
  },
  type: ({ name, index, text }) => named(name).type(index, text),
  erase: ({ name, index, length }) => named(name).erase(index, length),
  // Only of Hocuspocus providers
  createSocket: ({ name, ...options }) => { added(sockets, name, () => new HocuspocusSocket(options).open()) },
  socketReport: ({ name }) => {
    const { connected, opened, closes, refusals } = socketNamed(name)
    return { connected, opened, closes, refusals }
  },
  dropSocket: ({ name }) => socketNamed(name).drop(),
  destroySocket: ({ name }) => removed(sockets, name),
  createProvider: ({ name, socket, ...options }) => added(clients, name, () => new HocuspocusClient({
    name, socket: socket === null ? null : socketNamed(socket), ...options
  })).doc.clientID,
  events: ({ name, event }) => named(name).events.filter(entry => entry.event === event),
  setToken: ({ name, token }) => named(name).setToken(token),
  sendToken: ({ name }) => named(name).sendToken(),
  sendStateless: ({ name, payload }) => named(name).provider.sendStateless(payload),
  forceSync: ({ name }) => named(name).provider.forceSync(),
  attach: ({ name }) => named(name).attach(),
  detach: ({ name }) => named(name).detach()
}

const answer = message => process.stdout.write(JSON.stringify(message) + '\n')

const lines = createInterface({ input: process.stdin })
lines.on('line', async line => {
  const { id, command, ...details } = JSON.parse(line)
  try {
    if (COMMANDS[command] === undefined) throw new Error(`no such command: ${command}`)
    answer({ id, result: (await COMMANDS[command](details)) ?? null })
  } catch (error) {
    answer({ id, error: error.stack ?? String(error) })
  }
})
lines.on('close', () => process.exit(0))

// Standard output carries answers only; what providers log goes to standard error.
console.log = console.info = console.error
