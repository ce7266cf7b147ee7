// Better Auth's tables, defined for Drizzle as Better Auth's command line generates them for PostgreSQL: snake_case
// columns, timestamps without a time zone.

import { boolean, index, pgTable, text, timestamp } from "drizzle-orm/pg-core";

const moment = (name) => timestamp(name);
export const user = pgTable("user", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  email: text("email").notNull().unique(),
  emailVerified: boolean("email_verified").default(false).notNull(),
  image: text("image"),
  createdAt: moment("created_at").defaultNow().notNull(),
  updatedAt: moment("updated_at").defaultNow().notNull(),
});
const owner = () => text("user_id").notNull().references(() => user.id, { onDelete: "cascade" });
export const session = pgTable("session", {
  id: text("id").primaryKey(),
  expiresAt: moment("expires_at").notNull(),
  token: text("token").notNull().unique(),
  createdAt: moment("created_at").defaultNow().notNull(),
  updatedAt: moment("updated_at").notNull(),
  ipAddress: text("ip_address"),
  userAgent: text("user_agent"),
  userId: owner(),
}, (table) => [index("session_userId_idx").on(table.userId)]);
export const account = pgTable("account", {
  id: text("id").primaryKey(),
  accountId: text("account_id").notNull(),
  providerId: text("provider_id").notNull(),
  userId: owner(),
  accessToken: text("access_token"),
  refreshToken: text("refresh_token"),
  idToken: text("id_token"),
  accessTokenExpiresAt: moment("access_token_expires_at"),
  refreshTokenExpiresAt: moment("refresh_token_expires_at"),
  scope: text("scope"),
  password: text("password"),
  createdAt: moment("created_at").defaultNow().notNull(),
  updatedAt: moment("updated_at").notNull(),
}, (table) => [index("account_userId_idx").on(table.userId)]);
export const verification = pgTable("verification", {
  id: text("id").primaryKey(),
  identifier: text("identifier").notNull(),
  value: text("value").notNull(),
  expiresAt: moment("expires_at").notNull(),
  createdAt: moment("created_at").defaultNow().notNull(),
  updatedAt: moment("updated_at").defaultNow().notNull(),
}, (table) => [index("verification_identifier_idx").on(table.identifier)]);
