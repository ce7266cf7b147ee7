// A named Yjs client with y-sweet's provider, which is given a token and the URL to use it at.
import { YSweetProvider } from '@y-sweet/client'
import { Participant } from './participant.mjs'
import { socketClass } from './sockets.mjs'

export class YSweetClient extends Participant {
  constructor ({ url, room, token, ...options }) {
    super(options)
    this.localChanges = []
    this.statuses = []
    const provider = new YSweetProvider(async () => ({ url, baseUrl: url, docId: room, token }), room, this.doc, {
      connect: false,
      showDebuggerLink: false,
      WebSocketPolyfill: socketClass(
        {},
        (status, body) => this.note(this.refusals, { status, body }),
        (code, reason) => this.note(this.closes, { code, reason })
      )
    })
    this.use(provider)
    provider.on('local-changes', changes => this.note(this.localChanges, changes))
    provider.on('connection-status', status => this.note(this.statuses, status))
    if (options.connect !== false) provider.connect()
  }

  get connected () { return this.provider.wsconnected }

  get synced () { return this.provider.synced }

  get state () {
    return {
      ...super.state,
      hasLocalChanges: this.provider.hasLocalChanges,
      acknowledged: this.provider.ackedVersion,
      localChanges: this.localChanges,
      statuses: this.statuses
    }
  }

  connect () { this.provider.connect() }

  disconnect () { this.provider.disconnect() }

  drop () { this.provider.websocket?.terminate() }

  destroy () {
    // It reconnects even after destroy(), unless it is offline.
    this.provider.disconnect()
    for (const handler of ['onopen', 'onmessage', 'onclose', 'onerror']) this.provider.websocket[handler] = null
    super.destroy()
  }
}
