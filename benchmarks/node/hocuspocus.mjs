// A Hocuspocus server as its documentation sets one up: `node hocuspocus.mjs VERSION`, with PORT and, for documents
// that are kept in PostgreSQL, DATABASE_URL.

import pg from 'pg'
import * as Y from 'yjs'

const version = process.argv[2]
const { PORT, DATABASE_URL } = process.env

const pool = DATABASE_URL ? new pg.Pool({ connectionString: DATABASE_URL, max: 4 }) : null

const storage = pool && {
  async onLoadDocument ({ documentName, document }) {
    const { rows } = await pool.query('SELECT data FROM hocuspocus_document WHERE name = $1', [documentName])
    if (rows.length > 0) Y.applyUpdate(document, rows[0].data)
    return document
  },
  async onStoreDocument ({ documentName, document }) {
    await pool.query(
      'INSERT INTO hocuspocus_document (name, data) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET data = excluded.data',
      [documentName, Buffer.from(Y.encodeStateAsUpdate(document))]
    )
  }
}

const configuration = {
  port: Number(PORT),
  address: '127.0.0.1',
  quiet: true,
  async onAuthenticate ({ token }) {
    if (!token) throw new Error('no token')
  },
  ...storage
}

if (version === '4') {
  const { Server } = await import('hocuspocus-server-4')
  await new Server(configuration).listen()
} else {
  const { Hocuspocus } = await import('hocuspocus-server-2')
  await new Hocuspocus(configuration).listen()
}
