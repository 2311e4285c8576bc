"""Training in several processes: process group and launcher."""
