// Conditions that tests wait for, checked whenever one of the clients changes.

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)

/** Awareness states are compared without regard to the order of their keys. */
const ordered = value => {
  if (Array.isArray(value)) return value.map(ordered)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.keys(value).sort().map(key => [key, ordered(value[key])]))
}

const states = client => client.awareness.map(({ state }) => JSON.stringify(ordered(state))).sort()

export const CONDITIONS = {
  synced: () => clients => clients.every(client => client.synced),
  disconnected: () => clients => clients.every(client => !client.connected),
  converged: () => clients => {
    const first = clients[0].fingerprint
    return first !== null && clients.every(client => client.synced && client.fingerprint === first)
  },
  content: ({ content }) => {
    const expected = JSON.stringify(ordered(content))
    return clients => clients.every(client => JSON.stringify(ordered(JSON.parse(client.json))) === expected)
  },
  awareness: ({ states: wanted }) => {
    const expected = wanted.map(state => JSON.stringify(ordered(state))).sort()
    return clients => clients.every(client => same(states(client), expected))
  },
  awarenessMessages: ({ count }) => clients => clients.every(client => client.awarenessMessages >= count),
  closed: ({ count = 1 }) => clients => clients.every(client => client.closes.length >= count),
  refused: ({ count = 1 }) => clients => clients.every(client => client.refusals.length >= count),
  givenUp: () => clients => clients.every(client => client.givenUp !== null),
  state: ({ state }) => clients => clients.every(client =>
    Object.entries(state).every(([key, value]) => client.state[key] === value)),
  heard: ({ event, count, details }) => clients => clients.every(client => client.heard(event, details) >= count),
  sees: ({ state }) => clients => clients.every(client => client.awareness.some(one => same(one.state, state))),
  heardUpdates: ({ count }) => clients => clients.every(client => client.updatesReceived >= count),
  tokensGiven: ({ count }) => clients => clients.every(client => client.tokensGiven >= count)
}

const describe = client => {
  const { update, stateVector, ...visible } = client.report()
  const events = client.events?.filter(({ event }) => !/message/i.test(event)) ?? []
  return `${client.name}: ${JSON.stringify(visible).slice(0, 3000)}\n${JSON.stringify(events).slice(-3000)}`
}

/** Resolves as soon as the condition holds for the clients; rejects at the deadline, with their state by then. */
export const holds = (clients, condition, details, seconds) => new Promise((resolve, reject) => {
  const isTrue = CONDITIONS[condition](details)
  let planned = null
  const finish = settle => {
    clearTimeout(deadline)
    clearImmediate(planned)
    for (const client of clients) client.off('changed', look)
    settle()
  }
  const check = () => {
    planned = null
    if (isTrue(clients)) finish(resolve)
  }
  const look = () => { planned ??= setImmediate(check) }
  const deadline = setTimeout(() => finish(() => reject(new Error(
    `not ${condition} within ${seconds} s\n${clients.map(describe).join('\n')}`
  ))), seconds * 1000)
  for (const client of clients) client.on('changed', look)
  look()
})
