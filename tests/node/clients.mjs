// Hosts any number of Yjs clients for a test. A JSON command a line on stdin, a JSON answer a line on stdout:
// {"id": 1, "command": "connect", …} → {"id": 1, "result": …} or {"id": 1, "error": "…"}. Answers come in any order.
import { createInterface } from 'node:readline'
import { Client } from './client.mjs'
import { holds } from './conditions.mjs'
import { applyEdits } from './edits.mjs'

const clients = new Map()

const named = name => {
  const client = clients.get(name)
  if (client === undefined) throw new Error(`no client named ${name}`)
  return client
}

const COMMANDS = {
  create: options => {
    if (clients.has(options.name)) throw new Error(`there is a client named ${options.name} already`)
    const client = new Client(options)
    clients.set(options.name, client)
    return client.doc.clientID
  },
  edit: ({ name, edits }) => applyEdits(named(name).doc, edits),
  setAwareness: ({ name, state }) => named(name).provider.awareness.setLocalState(state),
  report: ({ name }) => named(name).report(),
  wait: ({ names, condition, seconds, ...details }) => holds(names.map(named), condition, details, seconds),
  connect: ({ name }) => named(name).provider.connect(),
  disconnect: ({ name }) => named(name).provider.disconnect(),
  // The way a network fails: the socket goes without a close handshake or a farewell, and the provider will retry.
  drop: ({ name }) => named(name).provider.ws?.terminate(),
  destroy: ({ name }) => {
    named(name).destroy()
    clients.delete(name)
  }
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

// stdout carries answers only; what the providers have to say belongs with the errors.
console.log = console.info = console.error
