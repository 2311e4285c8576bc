"""Settings of a run: `settings` defines them, `reading` reads them, `showing` explains them. No torch in here."""
