"""Who may come in: sessions, roles, and the decision over both."""
