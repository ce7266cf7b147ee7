// Prisma with its schema engine in WebAssembly, which npm has, in place of a native one, which would be downloaded.

import { PrismaPg } from "@prisma/adapter-pg";
import { ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import pg from "pg";

// The engine reads columns of PostgreSQL's catalogs whose types the adapter does not know: "char", name, and name[].
const CHAR = 18;
const TYPES = new Map([[CHAR, pg.types.builtins.TEXT], [19, pg.types.builtins.TEXT], [1003, 1009]]);

const charColumns = new Map();
const key = (names) => JSON.stringify(names);
const { handleRowDescription } = pg.Query.prototype;
pg.Query.prototype.handleRowDescription = function (message) {
  const { fields } = message;
  charColumns.set(key(fields.map((field) => field.name)), fields.map((field) => field.dataTypeID === CHAR));
  for (const field of fields) field.dataTypeID = TYPES.get(field.dataTypeID) ?? field.dataTypeID;
  return handleRowDescription.call(this, message);
};

// The engine leaves a timer of a minute behind, for which Prisma would wait before it ends.
const { setTimeout } = globalThis;
globalThis.setTimeout = (act, delay, ...rest) => {
  const timer = setTimeout(act, delay, ...rest);
  return delay >= 60_000 ? timer.unref() : timer;
};

class CatalogAdapter extends PrismaPg {
  async connect() {
    const connection = await super.connect();
    const query = connection.queryRaw.bind(connection);
    connection.queryRaw = async (statement) => {
      const result = await query(statement);
      const isChar = charColumns.get(key(result.columnNames)) ?? [];
      result.columnTypes = result.columnTypes.map((type, index) => (isChar[index] ? ColumnTypeEnum.Character : type));
      return result;
    };
    return connection;
  }
}

export default {
  schema: "./schema.prisma",
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new CatalogAdapter({ connectionString: process.env.DATABASE_URL, allowExitOnIdle: true }),
};
