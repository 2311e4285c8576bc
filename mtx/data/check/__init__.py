"""`mtx data check`: scan a corpus, judge it, and report."""
