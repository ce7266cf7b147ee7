// Takes the steps of clients that receive certain updates, and records which of them fail.
import * as Y from 'yjs'
import { shapeOf } from './shape.mjs'

/** A step that takes longer has failed. */
const SLOW_MILLISECONDS = 1000

const REMOTE = Symbol('remote')

const rootsOf = doc => [doc.getText('text'), doc.getMap('map'), doc.getArray('array'), doc.getXmlFragment('xml')]

const snapshotOf = doc => Buffer.from(Y.encodeSnapshot(Y.snapshot(doc))).toString('base64')

const waits = doc => doc.store.pendingStructs !== null || doc.store.pendingDs !== null

/** The error, and the function of Yjs that threw it. */
const wordsOf = error => {
  const frames = (error.stack ?? '').split('\n').slice(1)
    .map(frame => /at (?:Object\.|new )?([\w$.<>]+) .*(yjs|lib0)/.exec(frame)?.[1]).filter(Boolean)
  const names = frames.filter((name, index) => name !== frames[index - 1]).slice(0, 3)
  return `${error.name}: ${String(error.message).slice(0, 60)} (${names.join(' < ')})`
}

export class Judgement {
  constructor (before, relayed, whole) {
    this.before = before
    this.relayed = relayed
    this.whole = whole
    this.found = []
  }

  /** Take a step, and return whether it succeeded. */
  step (name, take, index = null) {
    const started = performance.now()
    try {
      take()
    } catch (error) {
      this.found.push({ step: name, error: wordsOf(error), index })
      return false
    }
    if (performance.now() - started > SLOW_MILLISECONDS) {
      this.found.push({ step: name, error: 'slow', index })
      return false
    }
    return true
  }

  /** A client that reads the document, sends its own updates, and observes those of others. */
  client (gc) {
    const doc = new Y.Doc({ gc, guid: 'document' })
    this.listen(doc)
    if (gc) doc.on('updateV2', () => {})
    doc.on('afterTransaction', () => {})
    doc.on('subdocs', () => {})
    for (const type of rootsOf(doc)) {
      type.observeDeep(events => events.forEach(event => [event.path, event.changes, event.delta, event.keys]))
    }
    return doc
  }

  listen (doc) {
    doc.sent = 0
    doc.on('update', () => { doc.sent++ })
  }

  encode (name, doc) {
    return this.step(`${name}: encode`, () => {
      Y.encodeStateAsUpdate(doc)
      Y.encodeStateVector(doc)
    })
  }

  /** A client that has the document open. */
  live (name, gc) {
    const doc = this.client(gc)
    if (!this.step(`${name}: before`, () => Y.applyUpdate(doc, this.before, REMOTE))) return null
    for (const [index, update] of this.relayed.entries()) {
      if (!this.step(`${name}: apply`, () => Y.applyUpdate(doc, update, REMOTE), index)) return null
    }
    return this.encode(name, doc) ? doc : null
  }

  /** A client that opens it afterwards. Some define its shared types only when they have received it. */
  newcomer (name, isLate) {
    const doc = isLate ? new Y.Doc({ guid: 'document' }) : this.client(true)
    if (!this.step(`${name}: apply`, () => Y.applyUpdate(doc, this.whole, REMOTE))) return null
    if (isLate) {
      this.listen(doc)
      if (!this.step(`${name}: name types`, () => rootsOf(doc))) return null
    }
    return this.encode(name, doc) ? doc : null
  }

  /** Exchange what one has and the other lacks, as when both sync with the server. */
  exchange (name, one, other) {
    return this.step(`${name}: exchange`, () => {
      for (let round = 0; round < 4 && snapshotOf(one) !== snapshotOf(other); round++) {
        Y.applyUpdate(other, Y.encodeStateAsUpdate(one, Y.encodeStateVector(other)), REMOTE)
        Y.applyUpdate(one, Y.encodeStateAsUpdate(other, Y.encodeStateVector(one)), REMOTE)
      }
    })
  }

  /** A client that received everything from the other has the same content at once; others when both have everything. */
  compare (name, one, other, isTold = false) {
    if (!isTold && !this.exchange(name, one, other)) return
    if (snapshotOf(one) !== snapshotOf(other)) {
      this.found.push({ step: `${name}: differ`, error: 'in what is there or deleted', index: null })
      return
    }
    const [first, second] = [shapeOf(one), shapeOf(other)]
    if (first !== second) {
      const torn = first.includes('\ufffd') || second.includes('\ufffd')
      this.found.push({ step: `${name}: differ`, error: torn ? 'in a torn character' : 'in what they show', index: null })
    }
  }

  read (name, doc) {
    for (const type of rootsOf(doc)) {
      this.step(`${name}: read`, () => {
        type.toJSON()
        if (type instanceof Y.Text) type.toDelta()
      })
    }
  }

  edit (name, doc) {
    const undoManager = name === 'live' ? new Y.UndoManager(rootsOf(doc), { captureTimeout: 0 }) : null
    for (const [edit, make] of Object.entries(EDITS)) {
      // One client is enough, as many transactions take long.
      if (edit === 'edit one by one' && name !== 'live') continue
      const sent = doc.sent
      if (!this.step(`${name}: ${edit}`, () => make(doc))) return false
      if (doc.sent === sent && !MAY_CHANGE_NOTHING.includes(edit)) {
        this.found.push({ step: `${name}: ${edit}`, error: 'not sent', index: null })
        return false
      }
    }
    if (undoManager !== null && !this.step(`${name}: undo`, () => takeBack(undoManager))) return false
    return this.encode(`${name}: after edits`, doc)
  }

  failures () {
    const live = this.live('live', true)
    const keeping = this.live('keeping', false)
    const newcomer = this.newcomer('newcomer', false)
    const late = this.newcomer('late', true)
    // A client that receives the document from another client, not from the server, must have the same content.
    let told = null
    if (live !== null) {
      told = new Y.Doc({ guid: 'document' })
      // Yjs deletes needless formatting marks when it finds them; then both are the same after they have synced.
      told.on('update', (_update, origin) => { told.hasTidied ||= origin !== REMOTE })
      rootsOf(told)
      if (!this.step('told: apply', () => Y.applyUpdate(told, Y.encodeStateAsUpdate(live), REMOTE))) told = null
    }
    if (live !== null && told !== null) {
      // Pending structs are retried at different times.
      this.compare('live and told', live, told, !told.hasTidied && !waits(live) && !waits(told))
    }
    if (live !== null && newcomer !== null) this.compare('live and newcomer', live, newcomer)
    if (keeping !== null && newcomer !== null) this.compare('keeping and newcomer', keeping, newcomer)
    if (late !== null && newcomer !== null) this.compare('late and newcomer', late, newcomer)
    if (newcomer !== null) this.read('newcomer', newcomer)
    const all = { live, keeping, newcomer, late }
    const edited = Object.entries(all).filter(([name, doc]) => doc !== null && this.edit(name, doc)).map(([, doc]) => doc)
    if (edited.includes(live) && edited.includes(newcomer)) this.compare('live and newcomer after edits', live, newcomer)
    if (edited.includes(keeping) && edited.includes(late)) this.compare('keeping and late after edits', keeping, late)
    return this.found
  }
}

const nestedTypes = doc => {
  const found = []
  const queue = rootsOf(doc)
  while (queue.length > 0 && found.length < 4) {
    const type = queue.shift()
    const items = [...type._map.values()]
    for (let item = type._start; item !== null; item = item.right) items.push(item)
    for (const item of items) {
      if (!item.deleted && item.content instanceof Y.ContentType) {
        found.push(item.content.type)
        queue.push(item.content.type)
      }
    }
  }
  return found
}

const editType = type => {
  if (type instanceof Y.Text) {
    type.insert(0, 'mine ')
    type.insert(type.length, '.')
    type.format(0, Math.min(3, type.length), { bold: true })
  } else if (type instanceof Y.Map) {
    for (const key of [...type.keys()].slice(0, 3)) type.set(key, 'mine')
    type.set('mine', new Y.Map([['a', 1]]))
    type.delete('mine')
  } else if (type instanceof Y.Array) {
    type.insert(0, ['mine'])
    type.push([new Y.Text('mine')])
  } else {
    type.insert(0, [new Y.XmlElement('mine')])
    type.push([new Y.XmlText('mine')])
  }
}

/** A client that loads a subdocument edits it as well. */
const editSubdocument = subdocument => {
  subdocument.on('update', () => {})
  const text = subdocument.getText('text')
  text.insert(0, 'mine')
  text.delete(0, 2)
  Y.encodeStateAsUpdate(subdocument)
}

const takeBack = undoManager => {
  while (undoManager.undo() !== null);
  undoManager.redo()
  undoManager.destroy()
}

const removeAll = type => {
  if (type instanceof Y.Map) type.clear()
  else if (type.length > 0) type.delete(0, type.length)
}

/** Shared types that the client has not defined are deleted as well, as a client would that has. */
const unnamed = doc => [...doc.share.keys()].filter(name => !['text', 'map', 'array', 'xml'].includes(name)).map(name => {
  const type = doc.get(name)
  if (type instanceof Y.Map || type instanceof Y.Array) return type
  return type._map.size > 0 ? doc.getMap(name) : doc.getArray(name)
})

const EDITS = {
  'edit subdocuments': doc => [...doc.subdocs].slice(0, 3).forEach(editSubdocument),
  'edit one by one': doc => rootsOf(doc).forEach(editType),
  'edit at once': doc => doc.transact(() => [...rootsOf(doc), ...nestedTypes(doc)].forEach(editType)),
  'delete outermost': doc => rootsOf(doc).forEach(removeAll),
  'delete unnamed': doc => unnamed(doc).forEach(removeAll),
  'edit again': doc => doc.transact(() => rootsOf(doc).forEach(editType))
}

const MAY_CHANGE_NOTHING = ['edit subdocuments', 'delete unnamed']
