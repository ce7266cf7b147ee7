"""Live documents with the connections to them: what a client's messages mean, and who hears of them, and when."""
