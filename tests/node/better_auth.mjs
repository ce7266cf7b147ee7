// Better Auth, controlled over stdin and stdout: a JSON message a line, and a JSON answer a line, in the same order.
//
//   {"open": NAME, "databaseUrl", "secret", "baseURL", ...}  make an instance; for more options see open()
//   {"migrate": NAME}                                        create the tables: Better Auth's own, or drizzle-kit's
//   {"handle": NAME, "method", "path", "headers", "body"}    pass a request to auth.handler, answer with the response
//   {"close": NAME}                                          close the database connections
//
// An answer is {"ok": VALUE} or {"error": MESSAGE}.

import { createInterface } from "node:readline";
import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { getMigrations } from "better-auth/db/migration";
import { bearer } from "better-auth/plugins";
import { drizzle } from "drizzle-orm/node-postgres";
import { Pool } from "pg";
import { account, session, user, verification } from "./drizzle_tables.mjs";

const instances = new Map();

// The tables that drizzle-kit creates from the definitions.
const DRIZZLE_TABLES = `
  create table "user" ("id" text primary key not null, "name" text not null, "email" text not null,
    "email_verified" boolean default false not null, "image" text, "created_at" timestamp default now() not null,
    "updated_at" timestamp default now() not null, constraint "user_email_unique" unique ("email"));
  create table "session" ("id" text primary key not null, "expires_at" timestamp not null, "token" text not null,
    "created_at" timestamp default now() not null, "updated_at" timestamp not null, "ip_address" text, "user_agent" text,
    "user_id" text not null, constraint "session_token_unique" unique ("token"));
  create table "account" ("id" text primary key not null, "account_id" text not null, "provider_id" text not null,
    "user_id" text not null, "access_token" text, "refresh_token" text, "id_token" text,
    "access_token_expires_at" timestamp, "refresh_token_expires_at" timestamp, "scope" text, "password" text,
    "created_at" timestamp default now() not null, "updated_at" timestamp not null);
  create table "verification" ("id" text primary key not null, "identifier" text not null, "value" text not null,
    "expires_at" timestamp not null, "created_at" timestamp default now() not null,
    "updated_at" timestamp default now() not null);
  alter table "account" add constraint "account_user_id_user_id_fk"
    foreign key ("user_id") references "public"."user"("id") on delete cascade on update no action;
  alter table "session" add constraint "session_user_id_user_id_fk"
    foreign key ("user_id") references "public"."user"("id") on delete cascade on update no action;
  create index "account_userId_idx" on "account" using btree ("user_id");
  create index "session_userId_idx" on "session" using btree ("user_id");
  create index "verification_identifier_idx" on "verification" using btree ("identifier");
`;

// drizzle: true puts Drizzle between Better Auth and PostgreSQL; generateId ("uuid", "serial"), cookiePrefix
// and session are Better Auth's own options.
function open({ open: name, databaseUrl, secret, baseURL, drizzle: onDrizzle, generateId, cookiePrefix, session: expiry }) {
  const pool = new Pool({ connectionString: databaseUrl, max: 2 });
  // An idle connection that the server ends is reported here; without a listener it would end this process.
  pool.on("error", (error) => process.stderr.write(`${error.message}\n`));
  const options = {
    database: onDrizzle
      ? drizzleAdapter(drizzle(pool), { provider: "pg", schema: { user, session, account, verification } })
      : pool,
    secret,
    baseURL,
    session: expiry,
    advanced: { cookiePrefix, database: { generateId } },
    emailAndPassword: { enabled: true },
    plugins: [bearer()],
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    logger: { level: "error" },
  };
  instances.set(name, { auth: betterAuth(options), onDrizzle, options, pool });
  return name;
}

function named(name) {
  const instance = instances.get(name);
  if (instance === undefined) throw new Error(`no instance named ${name}`);
  return instance;
}

async function migrate({ migrate: name }) {
  const { onDrizzle, options, pool } = named(name);
  if (onDrizzle) await pool.query(DRIZZLE_TABLES);
  else await (await getMigrations(options)).runMigrations();
  return name;
}

async function handle({ handle: name, method, path, headers, body }) {
  const { auth, options } = named(name);
  const request = new Request(new URL(path, options.baseURL), {
    method,
    headers: { origin: options.baseURL, "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const response = await auth.handler(request);
  const answer = await response.text();
  return {
    status: response.status,
    setCookie: response.headers.getSetCookie(),
    headers: Object.fromEntries([...response.headers].filter(([key]) => key !== "set-cookie")),
    body: answer === "" ? null : JSON.parse(answer),
  };
}

async function close({ close: name }) {
  await named(name).pool.end();
  instances.delete(name);
  return name;
}

const calls = { open, migrate, handle, close };

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const message = JSON.parse(line);
    const call = Object.keys(calls).find((key) => key in message);
    if (call === undefined) throw new Error(`nothing to do in ${line}`);
    answer = { ok: await calls[call](message) };
  } catch (error) {
    answer = { error: error.stack ?? String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await Promise.all([...instances.values()].map(({ pool }) => pool.end()));
