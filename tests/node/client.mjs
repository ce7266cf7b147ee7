// A named Yjs client with a y-websocket provider.
import { WebsocketProvider as Provider1 } from 'y-websocket-1'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { WebsocketProvider as Provider3 } from 'y-websocket-3'
import { Participant } from './participant.mjs'
import { socketClass } from './sockets.mjs'

const PROVIDERS = { 1: Provider1, 2: Provider2, 3: Provider3 }

export class Client extends Participant {
  constructor ({ url, room, version, headers = {}, params = {}, protocols = [], connect = true, ...options }) {
    super(options)
    this.use(new PROVIDERS[version](url, room, this.doc, {
      connect,
      params,
      protocols,
      disableBc: true,
      maxBackoffTime: 200,
      WebSocketPolyfill: socketClass(
        headers,
        (status, body) => this.note(this.refusals, { status, body }),
        (code, reason) => this.note(this.closes, { code, reason }),
        size => { this.largestMessage = Math.max(this.largestMessage, size) }
      )
    }))
    this.awarenessMessages = 0
    const takeAwareness = this.provider.messageHandlers[1]
    this.provider.messageHandlers[1] = (...message) => {
      takeAwareness(...message)
      this.awarenessMessages += 1
      this.changed()
    }
    this.provider.on('connection-error', event => this.note(this.errors, event.message))
    this.provider.on('closed', ({ code, reason }) => {
      this.givenUp = { code, reason }
      this.changed()
    })
    for (const event of ['status', 'sync']) this.provider.on(event, () => this.changed())
  }

  get connected () { return this.provider.wsconnected }

  get synced () { return this.connected && this.provider.synced }

  get state () { return { ...super.state, awarenessMessages: this.awarenessMessages } }

  connect () { this.provider.connect() }

  disconnect () { this.provider.disconnect() }

  drop () { this.provider.ws?.terminate() }
}
