// Better Auth's tables, and the application's own view with the roles, which Drizzle does not create.

import { pgView, text } from "drizzle-orm/pg-core";

export * from "./drizzle_tables.mjs";

export const access = pgView("collab_access", {
  diagramId: text("diagram_id"),
  userId: text("user_id"),
  role: text("role"),
}).existing();
