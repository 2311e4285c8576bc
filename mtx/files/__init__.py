"""Files: written atomically, sealed by a manifest, and read with suspicion."""
