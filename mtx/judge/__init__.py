"""Judgement of translations: whether one system is better than another, and where a system is good and bad."""
